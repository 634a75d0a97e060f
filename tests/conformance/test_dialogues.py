"""Sessions that chasquid, go-smtp and python-slimta test themselves with, held with us.

A reply must have the code that the row wants, unless `DEVIATIONS` says which one we give and why; the texts are the
other servers' own and are not compared. What the originals send in loops and helpers, and the rows therefore lack, is
put back by `COMPLETED`. Rows that need what we do not have are skipped by name in `SKIPPED`.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import memory
from tests.support.certificates import Authority
from tests.support.conformance import FOLDER, needs_conformance
from tests.support.dialog import MemoryPeer, Peer, SocketPeer, read_reply
from tests.support.memory import MemoryConnection
from tests.support.server import HOST, Server, free_port

pytestmark = needs_conformance

FILE = FOLDER / "dialogues" / "dialogues.jsonl"
LOCAL = ["testserver", "gchq.gov.uk", "bnd.bund.de", "example.com", "ドメイン名例.jp"]
LIMITS = {"message_bytes": 100_000}

NO_AUTH = "AUTH does not apply to an MX"
BACKEND = "the original's back-end raises this error on purpose"

SKIPPED = {
    "chasquid/auth_multi_dialog": NO_AUTH,
    "chasquid/auth_too_many_failures": NO_AUTH,
    "slimta/test_auth": NO_AUTH,
    "go-smtp/TestServerAuthTwice": NO_AUTH,
    "go-smtp/TestServerCancelSASL": NO_AUTH,
    "go-smtp/TestServer_authParam": NO_AUTH,
    "go-smtp/TestServer_anonymousUserError": NO_AUTH,
    "slimta/test_unhandled_error": BACKEND,
    "go-smtp/TestServerPanicRecover": BACKEND,
    "slimta/test_custom_command": "a command of the original's own",
}

KEEPING = {"bare_newlines": "keep"}
LMTP = {"protocol": "lmtp"}
LISTENERS: dict[str, dict[str, Any]] = {
    "go-smtp/TestServer": KEEPING,
    "go-smtp/TestServer_LFDotLF": KEEPING,
    "go-smtp/TestServer_smtpSmuggling": KEEPING,
    "go-smtp/TestServer_tooLongMessage": {"limits": {"message_bytes": 50}},
    "go-smtp/TestServer_Chunking_tooLongMessage": {"limits": {"message_bytes": 50}},
    "go-smtp/TestServer_Chunking_LMTP": LMTP,
    "go-smtp/TestServer_LMTP": LMTP,
    "go-smtp/TestServer_LMTP_Early": LMTP,
    "go-smtp/TestServer_LMTP_Expand": LMTP,
    "go-smtp/TestServer_LMTP_DuplicatedRcpt": LMTP,
    "slimta/test_tls_immediately": {"tls": "implicit"},
    "slimta/test_tls_immediately_sslerror": {"tls": "implicit"},
}
"""Rows that want another listener than the usual one: what is set in its [[listen]]."""

LMTP_START = [{"expect_prefix": "220"}, {"send": "LHLO localhost\r\n"}, {"expect_until_prefix": "250 "}]
RCPT = "RCPT TO:<root@gchq.gov.uk>"
COMPLETED: dict[str, dict[int, list[dict[str, str]]]] = {
    "go-smtp/TestServer_LMTP": {1: LMTP_START},
    "go-smtp/TestServer_LMTP_Early": {1: LMTP_START},
    "go-smtp/TestServer_LMTP_Expand": {1: LMTP_START},
    "go-smtp/TestServer_Chunking_LMTP": {2: [{"send": "LHLO localhost\r\n"}, {"expect_until_prefix": "250 "}]},
    "go-smtp/TestServer_tooManyInvalidCommands": {6: [{"send": "XXXX\r\n"}]},
    "go-smtp/TestServer_smtpSmuggling": {
        10: [{"send": "dots:\r\n.\nMAIL FROM:<a@nsa.gov>\r\n\n.\r\nRSET\r\n\r.\r\nQUIT\r\n.\r\n"}]
    },
    "go-smtp/TestServer_tooLongLine": {4: [{"send": f"MAIL FROM:<root@nsa.gov> {'A' * 3000}\r\n"}]},
    "go-smtp/TestServer_TooLongCommand": {4: [{"send": f"{'A' * 3000}\r\n"}]},
    "go-smtp/TestServerDELIVERBY": {6: [{"send": f"{RCPT} BY=\r\n"}]},
    "go-smtp/TestServerMTPRIORITY": {
        6: [{"send": f"{RCPT} MT-PRIORITY=\r\n"}],
        7: [{"send": f"{RCPT} MT-PRIORITY=6\r\n"}],
    },
}
"""Steps that go in before the step of that number."""

FAILING_HANDSHAKES = {"slimta/test_tls_immediately_sslerror", "slimta/test_starttls_bad"}
"""Rows whose handshake fails in the original's back-end; here the client sends what is no TLS."""

NO_DOMAIN = "an address needs a domain (RFC 5321 section 4.1.2)"
NEWLINES = "521 is for hosts that never take mail (RFC 7504 section 3); we say 550 5.5.2"
NO_UTF8 = "the sender did not declare SMTPUTF8 (RFC 6531 section 3.5)"
NOT_OFFERED = (
    "an extension that we do not honour is not offered, and its parameter not known (RFC 5321 section 4.1.1.11)"
)
ALL_TAKEN = "the original's back-end refuses on purpose, here the message is taken"
DEVIATIONS: dict[str, dict[str, tuple[int | list[int], str]]] = {
    "chasquid/auth_not_tls": {"AUTH PLAIN\r\n": (502, "AUTH is known and not implemented (RFC 5321 section 4.2.4)")},
    "chasquid/bad_data": {".\r\n": (250, "the header is not ours to judge, the message is taken as it is")},
    "chasquid/bad_data_dot": {"xxx\r\n.\r\n": (550, NEWLINES)},
    "chasquid/bad_data_dot_2": {"\r\n.\r\n": (550, NEWLINES)},
    "chasquid/bad_data_dot_on_message_too_big": {".\r\n": (552, "of two faults the size is told: its cause is surer")},
    "chasquid/bad_mail_from": {
        "MAIL LALA: <>\r\n": (501, "the command is known, its argument is not"),
        "MAIL FROM:\r\n": (501, "the command is known, its argument is not"),
    },
    "chasquid/bad_rcpt_to": {
        "RCPT LALA: <>\r\n": (501, "the command is known, its argument is not"),
        "RCPT TO:\r\n": (501, "the command is known, its argument is not"),
        "RCPT TO:<henryⅣ@testserver>\r\n": (553, NO_UTF8),
    },
    "chasquid/line_too_long": {"HELO": (501, "a line of 1,000 bytes is one; its name is too long")},
    "slimta/test_mailfrom": {'MAIL FROM:<test">"addr>\r\n': (501, NO_DOMAIN)},
    "slimta/test_mailfrom_bad": {
        "MAIL FROM:<test1> SIZE=5\r\n": (501, NO_DOMAIN),
        "MAIL FROM:<test1>\r\n": (501, NO_DOMAIN),
        "MAIL FROM:<test2>\r\n": (501, NO_DOMAIN),
    },
    "slimta/test_mailfrom_send_extension": {
        "MAIL FROM:<test1> SIZE=20\r\n": (501, NO_DOMAIN),
        "MAIL FROM:<test1> SIZE=5\r\n": (501, NO_DOMAIN),
    },
    "slimta/test_rcptto": {
        'RCPT TO:<test">"addr>\r\n': (501, NO_DOMAIN),
        "RCPT TO:<test2>\r\n": (501, NO_DOMAIN),
    },
    "slimta/test_rcptto_bad": {
        "MAIL FROM:<test1>\r\n": (501, NO_DOMAIN),
        "RCPT T:<test1>\r\n": (503, "there is no transaction after the refused MAIL"),
        "RCPT TO:<test1\r\n": (503, "there is no transaction after the refused MAIL"),
    },
    "slimta/test_data_bad": {"DATA arg\r\n": (503, "the order is looked at before the argument")},
    "slimta/test_bad_commands": {
        "STARTTLS\r\n": (503, "offered, to those who said EHLO"),
        "AUTH\r\n": (502, "known and not implemented (RFC 5321 section 4.2.4)"),
    },
    "slimta/test_starttls_bad": {"STARTTLS badarg\r\n": (503, "the order is looked at before the argument")},
    "go-smtp/TestServer_otherCommands": {"HELP\r\n": (214, "HELP is implemented")},
    "go-smtp/TestServerSMTPUTF8_Disabled": {"MAIL FROM:<alice": (250, "SMTPUTF8 is always offered")},
    "go-smtp/TestServer_Chunking_LMTP": {"EHLO localhost\r\n": (503, "LMTP has LHLO only (RFC 2033 section 4.1)")},
    "go-smtp/TestServer_Chunking_EarlyError": {"Hey <3\r\n": (250, ALL_TAKEN)},
    "go-smtp/TestServer_Chunking_EarlyErrorDuringChunk": {"Hey <3\r\n": (250, ALL_TAKEN)},
    "go-smtp/TestServer_LMTP": {".\r\n": (250, ALL_TAKEN)},
    "go-smtp/TestServer_LMTP_Early": {".\r\n": (250, ALL_TAKEN)},
    "go-smtp/TestServer_LMTP_DuplicatedRcpt": {".\r\n": ([250, 250, 250], ALL_TAKEN)},
    "go-smtp/TestServerDSNwithSMTPUTF8": {
        "RCPT TO:<e=mc2@ドメイン名例.jp> ORCPT=UTF-8": (553, NO_UTF8),
        "RCPT TO:<e=mc2@ドメイン名例.jp> ORCPT=utf-8": (553, NO_UTF8),
    },
    "go-smtp/TestServerRRVS": {
        f"{RCPT} RRVS=1234\r\n": (555, NOT_OFFERED),
        f"{RCPT} RRVS=2014": (555, NOT_OFFERED),
        "RCPT TO:<root@bnd.bund.de> RRVS=": (555, NOT_OFFERED),
    },
    "go-smtp/TestServerDELIVERBY": {f"{RCPT} BY=100;NT\r\n": (555, NOT_OFFERED)},
    "go-smtp/TestServerMTPRIORITY": {f"{RCPT} MT-PRIORITY=6\r\n": (555, NOT_OFFERED)},
}


def rows() -> list[Any]:
    """The rows as parameters of a test."""
    if not FILE.exists():
        return []
    parameters = []
    for line in FILE.read_text().splitlines():
        row = json.loads(line)
        reason = SKIPPED.get(row["id"])
        marks = [pytest.mark.skip(reason=reason)] if reason else []
        parameters.append(pytest.param(row, id=row["id"], marks=marks))
    return parameters


ROWS = rows()


class Held:
    """A row that is being held: whom to connect to, and what has been said."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.deviations = {
            key: list(codes) if isinstance(codes, list) else [codes]
            for key, (codes, _) in DEVIATIONS.get(row["id"], {}).items()
        }
        self.steps = list(row["steps"])
        for place, steps in reversed(COMPLETED.get(row["id"], {}).items()):
            self.steps[place:place] = steps
        self.last_sent = ""
        self.handshake_fails = row["id"] in FAILING_HANDSHAKES

    def expect(self, peer: Peer, kind: str, wanted: str) -> None:
        """Read a reply and compare its code."""
        last = read_reply(peer)[-1].decode()
        key = next((key for key in self.deviations if self.last_sent.startswith(key)), None)
        if key is not None:
            assert int(last[:3]) == self.deviations[key].pop(0), f"after {self.last_sent!r}: {last!r}"
            if not self.deviations[key]:
                del self.deviations[key]
        elif kind == "expect_not_prefix":
            assert not last.startswith(wanted), f"after {self.last_sent!r}: {last!r}"
        elif wanted:
            assert last[:3] == wanted[:3], f"after {self.last_sent!r}: wanted {wanted!r}, got {last!r}"
            if kind == "expect_until_prefix":
                assert last.startswith(wanted), f"after {self.last_sent!r}: wanted {wanted!r}, got {last!r}"


def rest(peer: Peer) -> bytes:
    """All that the server says up to its end of the connection."""
    said = b""
    while line := peer.read_line():
        said += line
    return said


def hold(row: dict[str, Any], connect: Any) -> None:
    """Play the client of a row; `connect` makes a peer."""
    held = Held(row)
    peers: list[Peer] = []
    try:
        for step in held.steps:
            ((kind, value),) = step.items()
            if kind == "connect":
                peers.append(connect())
                held.last_sent = ""
            elif kind == "send":
                held.last_sent = value
                peers[-1].send(value.encode())
            elif kind == "close":
                peers[-1].close()
            elif kind == "tls_handshake" and held.handshake_fails:
                peers[-1].send(b"EHLO there\r\nno TLS\r\n")
                assert not re.search(rb"^\d{3}[ -]", rest(peers[-1]), re.MULTILINE)
                break  # nothing is said to whoever is there instead of a 421, and the connection ends
            elif kind == "tls_handshake":
                peers[-1].shake_hands()
            else:
                held.expect(peers[-1], kind, value)
    finally:
        for peer in peers:
            peer.close()
    assert not held.deviations, "a deviation that is none"


def test_all_rows_are_there() -> None:
    names = {parameter.values[0]["id"] for parameter in ROWS}
    assert len(ROWS) == 91
    assert names >= SKIPPED.keys() | DEVIATIONS.keys() | LISTENERS.keys() | COMPLETED.keys() | FAILING_HANDSHAKES


@pytest.mark.parametrize("piece_bytes", [0, 7])
@pytest.mark.parametrize("row", ROWS)
def test_in_memory(row: dict[str, Any], piece_bytes: int) -> None:
    settings = LISTENERS.get(row["id"], {})
    limits = LIMITS | {"errors": 20} | settings.get("limits", {})
    door = memory.door({**settings, "limits": limits}, local=LOCAL)
    hold(row, lambda: MemoryPeer(MemoryConnection(door), piece_bytes))


def _key(row: dict[str, Any]) -> str:
    return json.dumps(LISTENERS.get(row["id"], {}), sort_keys=True)


@pytest.fixture(name="addresses", scope="module")
def _addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[str, int]]]:
    """A server that the rows can be held with; gives the address of the listener of each kind."""
    server = Server(tmp_path_factory.mktemp("server"))
    pair = Authority(tmp_path_factory.mktemp("certificates")).server("mx.example.org")
    listeners = {json.dumps(settings, sort_keys=True): settings for settings in ({}, *LISTENERS.values())}
    addresses = {key: (HOST, free_port()) for key in listeners}
    server.settings |= {
        "processes": {"server": 1},
        "limits": LIMITS,
        "domains": {"local": LOCAL},
        "tls": {"certificate": str(pair.certificate), "key": str(pair.key)},
        "listen": [{"address": f"{HOST}:{addresses[key][1]}", **settings} for key, settings in listeners.items()],
    }
    server.write_config()
    with server:
        yield addresses


@pytest.mark.parametrize("row", ROWS)
def test_over_tcp(row: dict[str, Any], addresses: dict[str, tuple[str, int]]) -> None:
    hold(row, lambda: SocketPeer(addresses[_key(row)]))
