"""Postfix's `postmap` with databases of LMDB, and a configuration that is the test's own.

Its package would add LMDB to the configuration of the Postfix that is installed. So it is only unpacked, and a folder
of the test's own tells `postmap` where it lies.
"""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.front import PEERS, need

MODULE = PEERS / "usr" / "lib" / "postfix" / "postfix-lmdb.so"

MAIN = """\
compatibility_level = 3.6
meta_directory = {folder}
queue_directory = {folder}
"""
MAPS = "lmdb {module} dict_lmdb_open mkmap_lmdb_open\n"


class Postmap:
    """Runs it. A database is named as Postfix does: without its `.lmdb`."""

    def __init__(self, folder: Path) -> None:
        self._program = need("postmap")
        libraries = [path.parent for path in PEERS.glob("usr/lib/*/liblmdb.so.0")]
        if not MODULE.exists() or not libraries:
            pytest.skip("postfix-lmdb is not unpacked: make peers")
        self._folder = folder / "postfix"
        self._folder.mkdir()
        (self._folder / "main.cf").write_text(MAIN.format(folder=self._folder))
        (self._folder / "dynamicmaps.cf").write_text(MAPS.format(module=MODULE))
        self._environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries[0])}

    def make(self, path: Path) -> None:
        """Make the database of a text, or write it anew, in place."""
        self._run(path)

    def put(self, path: Path, lines: str) -> None:
        """Put lines into a database, in place."""
        self._run(path, "-ir", stdin=lines)

    def delete(self, path: Path, key: str) -> None:
        """Take a key out of a database, in place."""
        self._run(path, "-d", key)

    def get(self, path: Path, key: str) -> str | None:
        """The value of a key."""
        done = self._run(path, "-q", key, codes=(0, 1))
        return done.stdout.removesuffix("\n") if done.returncode == 0 else None

    def all(self, path: Path) -> str:
        """All keys and values, in lines."""
        return self._run(path, "-s").stdout

    def begin(self, path: Path) -> subprocess.Popen[bytes]:
        """As `make`, without waiting for its end."""
        return subprocess.Popen(self._command(path), stdin=subprocess.DEVNULL, env=self._environment)

    def _command(self, path: Path, *options: str) -> list[str]:
        return [self._program, "-c", str(self._folder), *options, f"lmdb:{path}"]

    def _run(
        self, path: Path, *options: str, stdin: str = "", codes: tuple[int, ...] = (0,)
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self._command(path, *options),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            env=self._environment,
            check=False,
        )
        assert done.returncode in codes, done.stderr
        return done
