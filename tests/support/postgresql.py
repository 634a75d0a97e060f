"""A private PostgreSQL in a folder of its own, in the foreground, with one superuser who has a password.

It refuses to be root's, so a test that is gives it to `nobody`; and as that one may see neither root's temporary
folders nor, maybe, the place where it was unpacked, its folder is made elsewhere, with a copy of it where needed.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.certificates import Pair
from tests.support.front import PEERS
from tests.support.program import PASSWORD, Program
from tests.support.server import HOST, free_port

USER = "mta"
SETTINGS = {
    "listen_addresses": HOST,
    "fsync": "off",
    "shared_buffers": "4MB",
    "max_connections": "20",
    "autovacuum": "off",
    "logging_collector": "off",
    "jit": "off",
    "lc_messages": "C",
}


def programs() -> Path:
    """The folder with `initdb` and `postgres`; skips the test where there is none."""
    for root in (PEERS, Path("/")):
        for found in sorted(root.glob("usr/lib/postgresql/*/bin/postgres")):
            return found.parent
    pytest.skip("PostgreSQL is not installed: make peers")


class PostgreSQL(Program):
    """`folder` has its Unix socket. With a certificate it offers TLS."""

    name = "PostgreSQL"
    ends_by = signal.SIGINT

    def __init__(self, pair: Pair | None = None) -> None:
        self._pair = pair
        self._programs = programs()
        self._owner: dict[str, Any] = {}
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        if os.geteuid() == 0:
            self._give_away()
        port = free_port()
        options = {**SETTINGS, "port": str(port), "unix_socket_directories": str(self.folder)}
        if pair is not None:
            options |= {"ssl": "on", "ssl_cert_file": "server.crt", "ssl_key_file": "server.key"}
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        command = [str(self._programs / "postgres"), "-D", str(self.folder / "data"), *words]
        super().__init__(command, self.folder / "log", port, cwd=self.folder, **self._owner)

    @property
    def tcp(self) -> str:
        """Its URL, as the settings of a table have it."""
        return f"postgresql+psycopg://{USER}@{HOST}:{self.port}/postgres"

    @property
    def unix(self) -> str:
        """The same by its socket."""
        return f"postgresql+psycopg://{USER}@/postgres?host={self.folder}&port={self.port}"

    def tell(self, statement: str, *parameters: object, database: str = "postgres") -> None:
        """Run a statement, as its superuser."""
        with self._connect(database) as connection:
            connection.execute(statement, parameters or None)  # type: ignore[arg-type]

    def start(self) -> None:
        """Start it, and wait until it answers; the first time, make what it keeps."""
        if not (self.folder / "data").exists():
            self._initialize()
        super().start()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        shutil.rmtree(self.folder)

    def _give_away(self) -> None:
        nobody = pwd.getpwnam("nobody")
        self._owner = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        if all(parent.stat().st_mode & 0o001 for parent in self._programs.resolve().parents):
            return
        root = self._programs.parents[4]  # usr/lib/postgresql/15/bin; it finds its other files from there
        for part in (f"lib/postgresql/{self._programs.parent.name}", f"share/postgresql/{self._programs.parent.name}"):
            shutil.copytree(root / "usr" / part, self.folder / "usr" / part)
        self._programs = self.folder / self._programs.relative_to(root)

    def _initialize(self) -> None:
        secret = self._give("password", f"{PASSWORD}\n".encode())
        words = ["--no-locale", "-E", "UTF8", "-A", "scram-sha-256", "-U", USER, "--pwfile", secret, "--no-sync"]
        subprocess.run(
            [str(self._programs / "initdb"), "-D", str(self.folder / "data"), *words],
            check=True,
            capture_output=True,
            cwd=self.folder,
            **self._owner,
        )
        if self._pair is not None:
            self._give("data/server.crt", self._pair.certificate.read_bytes())
            self._give("data/server.key", self._pair.key.read_bytes())

    def _give(self, name: str, content: bytes) -> str:
        """Write a file that is for its eyes only; returns where."""
        path = self.folder / name
        path.touch(0o600)
        path.write_bytes(content)
        if self._owner:
            os.chown(path, self._owner["user"], -1)
        return str(path)

    def _connect(self, database: str) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=HOST, port=self.port, user=USER, password=PASSWORD, dbname=database, autocommit=True, connect_timeout=5
        )

    def answers(self) -> bool:
        """Whether it does, a query."""
        try:
            self.tell("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True
