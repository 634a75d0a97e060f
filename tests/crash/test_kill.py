"""kill -9 of any process, or of all at once, at any time: what got its 250 is delivered, whole.

`MTA_SEED` repeats a run's messages and victims (not its timing).
"""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.chaos import order, rampage
from tests.support.load import LibraryClient, Load, RawClient, audit
from tests.support.server import Server

SHORT_KILLS = 7
LONG_KILLS = 60
CLIENTS = (RawClient, RawClient, RawClient, LibraryClient, LibraryClient)
SIZES = ((4_000, 60), (40_000, 30), (300_000, 10))  # the last are beyond large_bytes
SETTINGS = {
    "limits": {"large_bytes": 65_536},
    "queue": {"retry_min_s": 1.0, "retry_max_s": 2.0},
    "processes": {"server": 2, "deliver": 2},
}

Tell = Callable[[str], None]


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    """Prints a line that is seen even when the test passes."""

    def line(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}", end="", flush=True)

    return line


def survive(folder: Path, tell: Tell, kills: int, seed: int) -> None:
    """Run the load, kill, let everything be delivered, and count."""
    rng = random.Random(seed)
    victims = order(rng, kills)
    tell(f"crash test: MTA_SEED={seed}, {len(victims)} kills")
    server = Server(folder, SETTINGS)
    server.start()
    try:
        with Load(server.address, CLIENTS, seed=seed, per_connection=20, pause_s=0.03, sizes=SIZES) as load:
            killed = rampage(server, load.ledger, rng, victims)
        server.wait_empty(180.0)
        assert server.stats()["failed"] == 0
        assert server.stop() == 0, server.complaints()
    finally:
        if server.process is not None and server.process.poll() is None:
            server.kill()
    ledger = load.ledger
    result = audit(ledger, server.mail)
    tell(
        f"  killed {dict(killed)}; {ledger.messages} of {ledger.attempts} messages got their 250, "
        f"{result.files} files delivered, {result.duplicates} duplicates, {result.extra} without their 250 read, "
        f"{len(result.missing)} missing, {len(result.torn)} torn"
    )
    tell(f"  clients saw {dict(ledger.trouble)}\n")
    assert not result.torn, f"MTA_SEED={seed}: {result.torn[:10]}"
    assert not result.missing, f"MTA_SEED={seed}: {len(result.missing)} missing: {result.missing[:10]}"
    assert not [text for text in ledger.trouble if text.startswith("Refused: 5")], dict(ledger.trouble)


def test_a_few_kills(tmp_path: Path, tell: Tell) -> None:
    """Each role at least once."""
    survive(tmp_path, tell, SHORT_KILLS, int(os.environ.get("MTA_SEED", "1")))


@pytest.mark.interop
@pytest.mark.timeout(1800)
def test_many_kills(tmp_path: Path, tell: Tell) -> None:
    """The long form, another run every time."""
    survive(
        tmp_path, tell, LONG_KILLS, int(os.environ.get("MTA_SEED", str(random.SystemRandom().randrange(1_000_000))))
    )
