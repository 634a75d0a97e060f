"""The dialogues of this folder, in memory and with a real server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import memory
from tests.support.dialog import Dialog, MemoryPeer, SocketPeer, hold, load
from tests.support.memory import MemoryConnection
from tests.support.server import HOST, Server, free_port

FILES = sorted(Path(__file__).parent.glob("*.dialog"))
DIALOGS = [pytest.param(load(path), id=path.stem) for path in FILES]


def _connection(dialog: Dialog) -> MemoryConnection:
    return MemoryConnection(memory.terms(), memory.chain(bare_newlines=dialog.listener))


def _check_accepted(dialog: Dialog, connection: MemoryConnection) -> None:
    if dialog.accepted is not None:
        assert connection.accepted == dialog.accepted


def test_there_are_dialogues() -> None:
    assert len(FILES) > 20


@pytest.mark.parametrize("piece_bytes", [0, 1, 2, 7])
@pytest.mark.parametrize("dialog", DIALOGS)
def test_in_memory(dialog: Dialog, piece_bytes: int) -> None:
    connection = _connection(dialog)
    hold(dialog, MemoryPeer(connection, piece_bytes))
    _check_accepted(dialog, connection)


@pytest.mark.parametrize("dialog", DIALOGS)
def test_all_at_once(dialog: Dialog) -> None:
    """A client that sends everything without waiting is answered the same (RFC 2920 section 3.2)."""
    patient, hasty = _connection(dialog), _connection(dialog)
    hold(dialog, MemoryPeer(patient))
    hasty.receive(dialog.client_bytes())
    assert hasty.output == patient.output
    assert hasty.accepted == patient.accepted
    assert hasty.closed == patient.closed


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[str, int]]]:
    """A server with the bounds of the dialogues; gives the address of the listener of each kind."""
    server = Server(tmp_path_factory.mktemp("server"))
    keeping = (HOST, free_port())
    server.settings |= {
        "processes": {"server": 1},
        "limits": {
            "message_bytes": memory.MESSAGE_BYTES,
            "recipients": memory.RECIPIENTS,
            "errors": memory.ERRORS,
        },
        "domains": {"local": memory.LOCAL},
        "listen": [
            {"address": f"{HOST}:{server.port}"},
            {"address": f"{HOST}:{keeping[1]}", "bare_newlines": "keep"},
        ],
    }
    server.write_config()
    with server:
        yield {"refuse": server.address, "keep": keeping}


@pytest.mark.parametrize("dialog", DIALOGS)
def test_over_tcp(dialog: Dialog, server: dict[str, tuple[str, int]]) -> None:
    peer = SocketPeer(server[dialog.listener])
    try:
        hold(dialog, peer)
    finally:
        peer.close()
