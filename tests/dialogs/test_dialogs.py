"""The dialogues of this folder, in memory and with a real server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import memory
from tests.support.certificates import Authority
from tests.support.dialog import Dialog, MemoryPeer, SocketPeer, hold, load
from tests.support.memory import MemoryConnection
from tests.support.server import HOST, Server, free_port

FILES = sorted(Path(__file__).parent.glob("*.dialog"))
LOADED = {path.stem: load(path) for path in FILES}
DIALOGS = [pytest.param(dialog, id=name) for name, dialog in LOADED.items()]
IN_PIECES = [pytest.param(dialog, id=name) for name, dialog in LOADED.items() if not dialog.as_sent]
OVER_TCP = [pytest.param(dialog, id=name) for name, dialog in LOADED.items() if not dialog.in_memory]


def _connection(dialog: Dialog, settings: dict[str, Any] | None = None) -> MemoryConnection:
    door = memory.door(dialog.listener | (settings or {}), known=dialog.known, aliases=dialog.aliases)
    return MemoryConnection(door, waits_for_greeting=dialog.steps[0].verb != "C", busy=dialog.busy)


def _check_accepted(dialog: Dialog, connection: MemoryConnection) -> None:
    if dialog.accepted is not None:
        assert connection.accepted == dialog.accepted


def test_there_are_dialogues() -> None:
    assert len(FILES) > 70
    assert len(IN_PIECES) > 60
    assert len(OVER_TCP) > 70


@pytest.mark.parametrize("dialog", DIALOGS)
def test_in_memory(dialog: Dialog) -> None:
    connection = _connection(dialog)
    hold(dialog, MemoryPeer(connection))
    _check_accepted(dialog, connection)


@pytest.mark.parametrize("piece_bytes", [1, 2, 7])
@pytest.mark.parametrize("dialog", IN_PIECES)
def test_in_pieces(dialog: Dialog, piece_bytes: int) -> None:
    connection = _connection(dialog)
    hold(dialog, MemoryPeer(connection, piece_bytes))
    _check_accepted(dialog, connection)


@pytest.mark.parametrize("dialog", IN_PIECES)
def test_all_at_once(dialog: Dialog) -> None:
    """A client that sends everything without waiting is answered the same, where it may (RFC 2920 section 3.2)."""
    patient, hasty = (_connection(dialog, {"refuse_early": []}) for _ in range(2))
    hold(dialog, MemoryPeer(patient))
    hasty.receive(dialog.client_bytes())
    assert hasty.output == patient.output
    assert hasty.accepted == patient.accepted
    assert hasty.closed == patient.closed


def _key(dialog: Dialog) -> str:
    return json.dumps(dialog.listener, sort_keys=True)


@pytest.fixture(name="addresses", scope="module")
def _addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[str, int]]]:
    """A server with the bounds of the dialogues and a listener for each kind of them; gives their addresses."""
    server = Server(tmp_path_factory.mktemp("server"))
    pair = Authority(tmp_path_factory.mktemp("certificates")).server(memory.HOSTNAME)
    listeners = {_key(dialog): dialog.listener for dialog in LOADED.values() if not dialog.in_memory}
    addresses = {key: (HOST, free_port()) for key in listeners}
    server.settings |= {
        "processes": {"server": 1},
        "limits": memory.LIMITS,
        "domains": {"local": memory.LOCAL},
        "table": memory.TABLES,
        "tls": {"certificate": str(pair.certificate), "key": str(pair.key)},
        "listen": [{"address": f"{HOST}:{addresses[key][1]}", **settings} for key, settings in listeners.items()],
    }
    server.write_config()
    with server:
        yield addresses


@pytest.mark.parametrize("dialog", OVER_TCP)
def test_over_tcp(dialog: Dialog, addresses: dict[str, tuple[str, int]]) -> None:
    peer = SocketPeer(addresses[_key(dialog)])
    try:
        hold(dialog, peer)
    finally:
        peer.close()
