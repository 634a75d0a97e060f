"""The corpus with a real server: it answers what the session in memory answers, of which the fuzzer thinks the best."""

import json
import re
from collections.abc import Iterator

import pytest

from tests.fuzz.case import HANDSHAKE, Case
from tests.fuzz.run import corpus
from tests.support import memory
from tests.support.certificates import Authority
from tests.support.dialog import SocketPeer
from tests.support.memory import MemoryConnection
from tests.support.server import HOST, Server, free_port


def is_fit(case: Case) -> bool:
    """Whether it does not matter how the network cuts what is sent, and a real server may be configured so."""
    may_be = case.settings.get("limits", {}).get("recipients", 100) >= 100
    return may_be and not case.busy and "greeting" not in case.settings.get("refuse_early", ["greeting"])


CASES = {name: case for name, case in corpus().items() if is_fit(case)}


def key(case: Case) -> str:
    """What tells a case's listener from others."""
    return json.dumps(case.settings, sort_keys=True)


def without_ids(reply: bytes) -> bytes:
    """A reply with nothing in it that differs from run to run."""
    return re.sub(rb"queued as [0-9A-Za-z]+", b"queued as *", reply)


@pytest.fixture(name="addresses", scope="module")
def _addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[str, int]]]:
    """A server with a listener for each of the corpus's settings; gives their addresses."""
    server = Server(tmp_path_factory.mktemp("server"))
    pair = Authority(tmp_path_factory.mktemp("certificates")).server(memory.HOSTNAME)
    listeners = {key(case): case.settings for case in CASES.values()}
    addresses = {name: (HOST, free_port()) for name in listeners}
    server.settings |= {
        "processes": {"server": 1},
        "limits": {**memory.LIMITS, "error_delay_s": 0.0},
        "domains": {"local": memory.LOCAL},
        "tls": {"certificate": str(pair.certificate), "key": str(pair.key)},
        "listen": [{"address": f"{HOST}:{addresses[name][1]}", **settings} for name, settings in listeners.items()],
    }
    server.write_config()
    with server:
        yield addresses


def test_most_are_fit() -> None:
    assert len(CASES) > 40


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
def test_same_answers(case: Case, addresses: dict[str, tuple[str, int]]) -> None:
    connection = MemoryConnection(memory.door(case.settings))
    peer = SocketPeer(addresses[key(case)])

    def compare(said: bytes) -> None:
        for line in said.splitlines(keepends=True):
            assert without_ids(peer.read_line()) == without_ids(line)

    try:
        compare(connection.output)
        for step in case.steps:
            if connection.closed:
                break
            if step is not HANDSHAKE:
                peer.send(step)
                compare(connection.receive(step))
            elif connection.in_handshake:
                peer.shake_hands()
                compare(connection.shake_hands())
        if connection.closed and not connection.in_handshake:
            assert peer.read_line() == b""
    finally:
        peer.close()
