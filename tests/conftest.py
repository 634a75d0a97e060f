"""What all tests share: free ports, waiting with a deadline, the folder of conformance data."""

import os
import select
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import hypothesis
import pytest

hypothesis.settings.register_profile("mta", deadline=None)  # a slow machine fails nothing
hypothesis.settings.load_profile("mta")

REPOSITORY = Path(__file__).resolve().parent.parent
PATIENCE_S = 30.0  # far more than anything here takes, so that a slow machine fails nothing


@pytest.fixture(scope="session")
def repository() -> Path:
    """The project's folder."""
    return REPOSITORY


@pytest.fixture(scope="session")
def conformance() -> Path:
    """The folder with other projects' published test data; the test is skipped where it is absent."""
    folder = Path(os.environ.get("MTA_CONFORMANCE_DIR", REPOSITORY / ".." / "shared" / "conformance"))
    if not folder.is_dir():
        pytest.skip(f"no conformance data in {folder} (set MTA_CONFORMANCE_DIR)")
    return folder.resolve()


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Gives loopback TCP ports that nobody listens on just now."""

    def take() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    return take


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """Waits until a condition holds, and fails the test when it does not in time."""

    def wait(condition: Callable[[], object]) -> None:
        deadline = monotonic() + PATIENCE_S
        while not condition():
            assert monotonic() < deadline, "waited in vain"
            select.select([], [], [], 0.01)

    return wait


@pytest.fixture
def readable() -> Callable[[int], None]:
    """Waits until a descriptor is readable, and fails the test when it is not in time."""

    def wait(fd: int) -> None:
        assert select.select([fd], [], [], PATIENCE_S)[0], "nothing came"

    return wait


@pytest.fixture(autouse=True)
def _restore_directory() -> Iterator[None]:
    """A test that changes the working directory changes it back."""
    before = os.getcwd()
    yield
    os.chdir(before)
