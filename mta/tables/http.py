"""A server that is asked with GET: 200 has the value in the first line of its body, 404 and 204 say that there is none.

All else means that nobody knows: other codes, redirections (which are not followed), a reply that is not whole. So does
one that does not say how long it is: it could have been cut anywhere.

What a reply is, h11 decides, which does no I/O; `exchange` has the connections. The client of the http transport is of
no use here: it is made for native threads and for messages that take minutes.
"""

import ssl
from urllib.parse import quote_from_bytes

import h11
from gevent.ssl import SSLContext

from mta import pem
from mta.endpoint import is_ipv6, parse_url
from mta.errors import TableDown
from mta.tables.answer import TOO_LONG, VALUE_BYTES
from mta.tables.exchange import BadReply, Exchange
from mta.tables.password import read_password

HEAD_BYTES = 32768
REPLY_BYTES = 262144  # with what is not read: interim replies, pages for people that say what is wrong
SHOWN_CHARACTERS = 200

OVERLOADED = (429, 502, 503, 504)
"""Codes that say it of all keys, or come late. The others may be about one key, of which clients have the choice."""

PLACEHOLDER = "{key}"
STEPS = (b".", b"..")
"""Keys that would lead to another place in the path, however they are written (RFC 3986 section 6.2.2)."""


class ReplyReader:
    """Puts one reply together: `status`, `reason`, and `body`, which only 200 has."""

    def __init__(self, request: h11.Request) -> None:
        """`request` is what was asked, which says how the reply ends."""
        self.status = 0
        self.reason = ""
        self.body = bytearray()
        self.is_last = True  # until it is known to be otherwise
        self._room_bytes = REPLY_BYTES
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
        self._connection.send(request)
        self._connection.send(h11.EndOfMessage())

    def feed(self, data: bytes) -> bool:
        """Take what came; whether the reply is whole. Raises `BadReply`."""
        self._room_bytes -= len(data)
        if self._room_bytes < 0:
            raise BadReply(f"a reply of more than {REPLY_BYTES} bytes")
        try:
            self._connection.receive_data(data)
            while (event := self._connection.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Response):
                    self._begin(event)
                elif isinstance(event, h11.Data):
                    self._take(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    return self._ends()
        except h11.RemoteProtocolError as error:
            raise BadReply(f"no reply of HTTP: {error}"[:SHOWN_CHARACTERS]) from None
        return False

    def _begin(self, response: h11.Response) -> None:
        self.status = response.status_code
        self.reason = response.reason.decode("latin-1")[:SHOWN_CHARACTERS]
        headers = dict(response.headers)
        if self.status not in (204, 304) and not {b"content-length", b"transfer-encoding"} & headers.keys():
            raise BadReply("a reply that does not say how long it is")
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise BadReply("a compressed reply, which nobody asked for")

    def _take(self, data: bytes) -> None:
        if self.status == 200:
            self.body += data
            if len(self.body) > VALUE_BYTES:
                raise BadReply(TOO_LONG)

    def _ends(self) -> bool:
        if self._connection.trailing_data[0]:
            raise BadReply("more than one reply")
        self.is_last = self._connection.their_state is not h11.DONE
        return True


class HttpTable:
    """A server of values, at an address with `PLACEHOLDER` in its path or its query."""

    def __init__(self, url: str, timeout_s: float, connections: int, *, key_file: str = "", tls_ca: str = "") -> None:
        """Connects to nobody yet. Reads the authorities, and blocks on that; the table is down where they are bad."""
        self._url = parse_url(url)
        self._before, _, self._behind = self._url.target.partition(PLACEHOLDER)
        self._key_file = key_file
        self._context: SSLContext | None = None
        self._fault = ""
        if self._url.is_tls:
            self._context = SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996 section 3
            self._context.set_alpn_protocols(["http/1.1"])
            try:
                pem.trust(self._context, tls_ca)
            except pem.PemError as error:
                self._fault = str(error)
        host = f"[{self._url.host}]" if is_ipv6(self._url.host) else self._url.host
        wrap = None if self._context is None else self._wrapped
        self._exchange = Exchange(f"{host}:{self._url.port}", timeout_s, connections, wrap=wrap)

    def get(self, key: bytes) -> bytes | None:
        """The value, or None; raises `TableDown`. Switches greenlets, for the time that `exchange` allows.

        Blocks on reading the file with the token, which may change at any time.
        """
        if self._fault:
            raise TableDown(self._fault)
        if key in STEPS:
            return None
        request = self._request(key)
        sent = h11.Connection(h11.CLIENT).send(request) or b""
        reply: ReplyReader = self._exchange.ask(sent, lambda: ReplyReader(request))
        if reply.status == 200:
            return bytes(reply.body.partition(b"\n")[0]).removesuffix(b"\r")
        if reply.status in (204, 404):
            return None
        words = f"{self._url.authority}: {reply.status} {reply.reason}".rstrip()
        raise TableDown(words, of_key=reply.status not in OVERLOADED)

    def _request(self, key: bytes) -> h11.Request:
        headers = [
            ("Host", self._url.authority),
            ("User-Agent", "mta"),
            ("Accept-Encoding", "identity"),
        ]
        token = read_password(self._key_file)
        if token:
            if not token.isascii() or not token.isprintable() or " " in token:
                raise TableDown(f"{self._key_file}: has no token in its first line")
            headers.append(("Authorization", f"Bearer {token}"))
        target = f"{self._before}{quote_from_bytes(key, safe='')}{self._behind}"
        return h11.Request(method="GET", target=target, headers=headers)

    def _wrapped(self, connection: object) -> object:
        """TLS around a connection, with a server that is who it should be. Raises `OSError`."""
        assert self._context is not None
        try:
            return self._context.wrap_socket(connection, server_hostname=self._url.host)  # type: ignore[arg-type]
        except ssl.SSLError as error:
            raise OSError(0, f"TLS: {pem.why(error)}") from None
