"""The order to drain: as a file, and what it makes of a configuration."""

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from mta import drain
from mta.config import Config, Domains, Listen, Route, Transport
from mta.drain import PEER, Order
from mta.errors import ConfigError, SpoolError
from mta.routing import router

CONFIG = Config(
    hostname="mx.example",
    spool="/nowhere",
    listen=[Listen("127.0.0.1:2525")],
    domains=Domains(["example.org"]),
    transport={
        "store": Transport("discard"),
        "out": Transport("smtp"),
        "next": Transport("smtp", host="next.example:25", tls="verify"),
    },
    route=[Route(["*@example.org"], "store"), Route(["*"], "next")],
)


@pytest.fixture
def spool(tmp_path: Path) -> str:
    (tmp_path / "qmgr").mkdir()
    return str(tmp_path)


def test_file(spool: str) -> None:
    assert drain.read(spool) is None
    drain.forget(spool)
    for order in (Order(12.5), Order(13.0, "next.example:25"), Order(14.0, "x" * 1000)):
        drain.write(spool, order)
        assert drain.read(spool) == order
    assert os.listdir(Path(spool) / "qmgr") == ["drain"]
    drain.forget(spool)
    assert drain.read(spool) is None


@pytest.mark.parametrize("data", [b"", b"drain", b'{"to":"a:25"}', b'{"since_wall":1,"too":"a:25"}', b"[" * 5000])
def test_what_is_no_order(spool: str, data: bytes) -> None:
    Path(drain.path(spool)).write_bytes(data)
    with pytest.raises(SpoolError, match="not an order to drain"):
        drain.read(spool)


def test_what_is_no_file_of_ours(spool: str, tmp_path: Path) -> None:
    """Root reads in a folder of the user who handles mail: no links, and nothing to hang on."""
    file = Path(drain.path(spool))
    (tmp_path / "else").write_bytes(b'{"since_wall":1}')
    file.symlink_to(tmp_path / "else")
    with pytest.raises(SpoolError):
        drain.read(spool)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(SpoolError, match="regular"):
        drain.read(spool)


def test_no_folder(tmp_path: Path) -> None:
    assert drain.read(str(tmp_path)) is None
    for act in (lambda: drain.write(str(tmp_path), Order(1.0)), lambda: drain.forget(str(tmp_path))):
        with pytest.raises(SpoolError):
            act()


def test_no_order_changes_nothing() -> None:
    assert drain.applied(CONFIG, None) is CONFIG
    assert drain.for_queue(CONFIG) is CONFIG
    assert not drain.is_on(CONFIG)
    assert drain.told(CONFIG) == ""


def test_by_the_routes() -> None:
    config = drain.applied(CONFIG, Order(1.0))
    assert config == replace(CONFIG, listen=[])
    assert drain.for_queue(config) is config
    assert drain.is_on(config)
    assert drain.told(config) == "deliver"


@pytest.mark.parametrize(
    ("to", "peer"),
    [
        ("next", CONFIG.transport["next"]),
        ("new.example:2525", Transport("smtp", host="new.example:2525")),
        ("[::1]:25", Transport("smtp", host="[::1]:25")),
    ],
)
def test_to_a_peer(to: str, peer: Transport) -> None:
    """Everything goes there, wherever it was to go; the workers keep the transports that are in use until then."""
    config = drain.applied(CONFIG, Order(1.0, to))
    assert config.transport == CONFIG.transport | {PEER: peer}
    assert drain.told(config) == peer.host
    queue = drain.for_queue(config)
    assert queue.transport == config.transport, "the others are for copies"
    assert queue.queue.lifetime_s > 10 * CONFIG.queue.lifetime_s
    asked = router(queue)
    for recipient in (b"a@example.org", b"b@elsewhere.example", b"postmaster"):
        for sender in (b"", b"me@example.org"):
            assert asked.transport(recipient, sender, "127.0.0.1:2525") == PEER


@pytest.mark.parametrize("to", ["store", "out", "nowhere", "host", "host:0", "a b:25", PEER])
def test_what_is_no_peer(to: str) -> None:
    with pytest.raises(ConfigError, match="--cancel"):
        drain.applied(CONFIG, Order(1.0, to))
