"""Sessions that chasquid, go-smtp and python-slimta test themselves with, held with us.

A reply must have the code that the row wants, unless `DEVIATIONS` says which one we give and why; the texts are the
other servers' own and are not compared. Rows that need what we do not have (yet) are skipped by name in `SKIPPED`.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import memory
from tests.support.conformance import FOLDER, needs_conformance
from tests.support.dialog import MemoryPeer, Peer, SocketPeer, read_reply
from tests.support.memory import MemoryConnection
from tests.support.server import HOST, Server, free_port

pytestmark = needs_conformance

FILE = FOLDER / "dialogues" / "dialogues.jsonl"
LOCAL = ["testserver", "gchq.gov.uk", "bnd.bund.de", "example.com"]
MESSAGE_BYTES = 100_000

NO_AUTH = "AUTH does not apply to an MX"
NO_TLS = "TLS is not offered yet"
NO_BDAT = "CHUNKING (BDAT) is not offered yet"
NO_DSN = "the DSN parameters are not offered yet"
NO_LMTP = "we serve SMTP, not LMTP"
NO_EXTENSION = "an extension that is not offered"
INCOMPLETE = "what the original sends in a loop is missing from the row"
BACKEND = "the original's back-end raises this error on purpose"

SKIPPED = {
    "chasquid/auth_multi_dialog": NO_AUTH,
    "chasquid/auth_too_many_failures": NO_AUTH,
    "slimta/test_auth": NO_AUTH,
    "go-smtp/TestServerAuthTwice": NO_AUTH,
    "go-smtp/TestServerCancelSASL": NO_AUTH,
    "go-smtp/TestServer_authParam": NO_AUTH,
    "go-smtp/TestServer_anonymousUserError": NO_AUTH,
    "slimta/test_tls_immediately": NO_TLS,
    "slimta/test_tls_immediately_sslerror": NO_TLS,
    "slimta/test_starttls": NO_TLS,
    "slimta/test_starttls_bad": NO_TLS,
    "go-smtp/TestServer_Chunking": NO_BDAT,
    "go-smtp/TestServer_Chunking_LMTP": NO_BDAT,
    "go-smtp/TestServer_Chunking_Reset": NO_BDAT,
    "go-smtp/TestServer_Chunking_ClosedInTheMiddle": NO_BDAT,
    "go-smtp/TestServer_Chunking_EarlyError": NO_BDAT,
    "go-smtp/TestServer_Chunking_EarlyErrorDuringChunk": NO_BDAT,
    "go-smtp/TestServer_Chunking_tooLongMessage": NO_BDAT,
    "go-smtp/TestServer_Chunking_Binarymime": NO_BDAT,
    "go-smtp/TestServerDSN": NO_DSN,
    "go-smtp/TestServerDSNwithSMTPUTF8": NO_DSN,
    "go-smtp/TestServerRRVS": NO_EXTENSION,
    "go-smtp/TestServerDELIVERBY": NO_EXTENSION,
    "go-smtp/TestServerMTPRIORITY": NO_EXTENSION,
    "go-smtp/TestServer_LMTP": NO_LMTP,
    "go-smtp/TestServer_LMTP_Early": NO_LMTP,
    "go-smtp/TestServer_LMTP_Expand": NO_LMTP,
    "go-smtp/TestServer_LMTP_DuplicatedRcpt": NO_LMTP,
    "go-smtp/TestServer_tooManyInvalidCommands": INCOMPLETE,
    "go-smtp/TestServer_smtpSmuggling": INCOMPLETE,
    "go-smtp/TestServer_tooLongLine": INCOMPLETE,
    "go-smtp/TestServer_TooLongCommand": INCOMPLETE,
    "slimta/test_unhandled_error": BACKEND,
    "slimta/test_custom_command": "a command of the original's own",
    "go-smtp/TestServerPanicRecover": BACKEND,
    "go-smtp/TestServerSMTPUTF8_Disabled": "SMTPUTF8 is always offered",
}

KEEPING = {"go-smtp/TestServer", "go-smtp/TestServer_LFDotLF"}
"""Rows that want messages with bare line ends accepted: held with the listener that keeps them."""

SMALL = {"go-smtp/TestServer_tooLongMessage": 50}
"""Rows that want a smaller limit of message bytes than `MESSAGE_BYTES`: held in memory only."""

NO_DOMAIN = "an address needs a domain (RFC 5321 section 4.1.2)"
NEWLINES = "521 is for hosts that never take mail (RFC 7504 section 3); we say 550 5.5.2"
DEVIATIONS: dict[str, dict[str, tuple[int, str]]] = {
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
        "RCPT TO:<henryⅣ@testserver>\r\n": (553, "the sender did not declare SMTPUTF8 (RFC 6531 section 3.5)"),
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
        "STARTTLS\r\n": (502, "known and not implemented (RFC 5321 section 4.2.4)"),
        "AUTH\r\n": (502, "known and not implemented (RFC 5321 section 4.2.4)"),
    },
    "go-smtp/TestServer_otherCommands": {"HELP\r\n": (214, "HELP is implemented")},
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
        self.deviations = dict(DEVIATIONS.get(row["id"], {}))
        self.steps = row["steps"]
        self.last_sent = ""

    def expect(self, peer: Peer, kind: str, wanted: str) -> None:
        """Read a reply and compare its code."""
        last = read_reply(peer)[-1].decode()
        key = next((key for key in self.deviations if self.last_sent.startswith(key)), None)
        if key is not None:
            assert int(last[:3]) == self.deviations.pop(key)[0], f"after {self.last_sent!r}: {last!r}"
        elif kind == "expect_not_prefix":
            assert not last.startswith(wanted), f"after {self.last_sent!r}: {last!r}"
        elif wanted:
            assert last[:3] == wanted[:3], f"after {self.last_sent!r}: wanted {wanted!r}, got {last!r}"
            if kind == "expect_until_prefix":
                assert last.startswith(wanted), f"after {self.last_sent!r}: wanted {wanted!r}, got {last!r}"


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
            else:
                held.expect(peers[-1], kind, value)
    finally:
        for peer in peers:
            peer.close()
    assert not held.deviations, "a deviation that is none"


def test_all_rows_are_there() -> None:
    names = {parameter.values[0]["id"] for parameter in ROWS}
    assert len(ROWS) == 91
    assert names >= SKIPPED.keys() | DEVIATIONS.keys() | KEEPING | SMALL.keys()


@pytest.mark.parametrize("piece_bytes", [0, 7])
@pytest.mark.parametrize("row", ROWS)
def test_in_memory(row: dict[str, Any], piece_bytes: int) -> None:
    terms = memory.terms(message_bytes=SMALL.get(row["id"], MESSAGE_BYTES), errors=20)
    chain = memory.chain(bare_newlines="keep" if row["id"] in KEEPING else "refuse", local=LOCAL)
    hold(row, lambda: MemoryPeer(MemoryConnection(terms, chain), piece_bytes))


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[str, int]]]:
    """A server that the rows can be held with; gives the address of the listener of each kind."""
    server = Server(tmp_path_factory.mktemp("server"))
    keeping = (HOST, free_port())
    server.settings |= {
        "processes": {"server": 1},
        "limits": {"message_bytes": MESSAGE_BYTES},
        "domains": {"local": LOCAL},
        "listen": [
            {"address": f"{HOST}:{server.port}"},
            {"address": f"{HOST}:{keeping[1]}", "bare_newlines": "keep"},
        ],
    }
    server.write_config()
    with server:
        yield {"refuse": server.address, "keep": keeping}


@pytest.mark.parametrize("row", ROWS)
def test_over_tcp(row: dict[str, Any], server: dict[str, tuple[str, int]]) -> None:
    if row["id"] in SMALL:
        pytest.skip("needs another limit; held in memory")
    address = server["keep" if row["id"] in KEEPING else "refuse"]
    hold(row, lambda: SocketPeer(address))
