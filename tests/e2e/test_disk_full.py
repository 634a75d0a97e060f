"""A full disk: 452 4.3.1, or 421 at the door; nothing half-accepted; and recovery without a restart."""

import errno
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.load import RawClient, Refused
from tests.support.server import Server

LARGE = b"Subject: large\r\n\r\n" + b"a line of a large message\r\n" * 20_000


def attempt(server: Server, content: bytes = b"Subject: full\r\n\r\nbody\r\n") -> str:
    """Send one message; returns the refusal, or nothing."""
    try:
        client = RawClient(server.address)
    except Refused as refusal:  # the spool is known to be full
        return str(refusal)
    try:
        client.send("s@example.com", ["user@example.org"], content)
    except Refused as refusal:
        return str(refusal)
    finally:
        client.close()
    return ""


def limit_files(server: Server, limit_bytes: int) -> None:
    """Let no SMTP worker write beyond `limit_bytes` of any file, as if the disk ended there."""
    for pid in server.children("server"):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit_bytes, resource.RLIM_INFINITY))


@pytest.mark.parametrize("content", [b"Subject: small\r\n\r\n", LARGE], ids=["small", "large"])
def test_writing_fails(tmp_path: Path, content: bytes) -> None:
    """Every write fails for a while. Mail is refused for now, then taken again by the same processes."""
    with Server(tmp_path) as server:
        assert attempt(server, content) == ""
        before = server.processes()
        limit_files(server, 0)
        refusals = [attempt(server, content) for _ in range(5)]
        assert refusals[0].startswith("452 4.3.1"), refusals
        assert all(refusal.startswith(("452 4.3.1", "421 4.3.1")) for refusal in refusals), refusals
        limit_files(server, resource.RLIM_INFINITY)
        server.until(lambda: attempt(server, content) == "", "recovery")
        assert server.processes() == before
        server.wait_empty()
    assert len(server.delivered()) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(file: Path) -> None:
    """Write until the file system is full."""
    with file.open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4_096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


@pytest.mark.interop
def test_no_space(tmp_path: Path, small_disk: Path) -> None:
    """The spool's file system is full to the last block."""
    with Server(tmp_path / "server", {"spool": str(small_disk / "spool")}) as server:
        assert attempt(server) == ""
        fill(small_disk / "filler")
        answers = [attempt(server, LARGE) for _ in range(5)]
        assert all(answer.startswith("452 4.3.1") for answer in answers), answers
        (small_disk / "filler").unlink()
        server.until(lambda: attempt(server, LARGE) == "", "recovery")
        server.wait_empty()
    assert len(server.delivered()) == 2
