"""A search in an LDAP directory as a table, through ldap3.

Each link is a connection, bound where there is somebody to bind as. The key is escaped into the filter; referrals are
not followed. TLS is ours, not the library's: the certificate and its name are verified by OpenSSL, or nothing is said.
"""

import re
import ssl
from collections.abc import Callable
from math import ceil
from typing import Any

from ldap3 import BASE, LEVEL, NONE, SUBTREE, SYNC, Connection, Server, Tls
from ldap3.core.exceptions import LDAPCommunicationError, LDAPExceptionError
from pyasn1.error import PyAsn1Error

from mta.errors import TableDown
from mta.tables.answer import VALUES, joined, without_secret
from mta.tables.key import split
from mta.tables.password import read_password
from mta.tables.threaded import Gone

ANSWER_BYTES = 1024 * 1024
"""Most that a server may send in answer to one request; the library would take what comes, and copies it each time."""

SCOPES = {"base": BASE, "one": LEVEL, "sub": SUBTREE}
SUCCESS = 0
SIZE_LIMIT_EXCEEDED = 4  # RFC 4511 section 4.1.9

_PLAIN = re.compile(rb"[A-Za-z0-9@._+=-]")
_PLACE = re.compile(r"\{(key|local|domain)\}")

# What the library raises of answers that are none: it looks into what came without asking what it is.
_BROKEN = (LDAPExceptionError, PyAsn1Error, OSError, ValueError, LookupError, TypeError, AttributeError)


def escaped(value: bytes) -> str:
    r"""A value as it may stand in a filter: all but the plainest bytes as `\xx` (RFC 4515 section 3).

    Of what RFC 4515 would let stand, the library takes blanks at the ends for none of the value's.
    """
    return "".join(chr(byte) if _PLAIN.match(bytes((byte,))) else f"\\{byte:02x}" for byte in value)


def filled(template: str, key: bytes) -> str | None:
    """A filter with the key in its places; None where it wants a domain, and the key has none."""
    local, domain = split(key)
    if "{domain}" in template and not domain:
        return None
    values = {"key": escaped(key), "local": escaped(local), "domain": escaped(domain)}
    return _PLACE.sub(lambda match: values[match[1]], template)


class LdapServer:
    """Makes links to one server."""

    def __init__(self, where: "Where", search: "Search", timeout_s: float) -> None:
        self._where = where
        self._search = search
        self._timeout_s = ceil(timeout_s)

    def connect(self, watch: Callable[[int], None]) -> "LdapLink":
        """A new link; `watch` is told its socket. Raises `TableDown`. Blocks."""
        where = self._where
        secret = read_password(where.password_file)
        try:
            tls = _VerifiedTls(where.ca, watch) if where.has_tls else None
            # One for each link: it remembers the address of its only connection.
            server = Server(where.url, get_info=NONE, tls=tls, connect_timeout=self._timeout_s)
            connection: Any = Connection(
                server,
                where.bind_dn or None,
                secret or None,
                client_strategy=SYNC,
                auto_referrals=False,
                check_names=False,
                read_only=True,
                receive_timeout=self._timeout_s,
                return_empty_attributes=False,
                auto_escape=False,
                auto_encode=False,
            )
        except (LDAPExceptionError, OSError, ValueError) as error:
            raise TableDown(without_secret(error, secret)) from None
        try:
            self._begin(connection, watch)
        except _BROKEN as error:
            _close(connection)
            reason = (tls.failure if tls is not None else "") or error
            raise TableDown(without_secret(reason, secret)) from None
        except BaseException:
            _close(connection)
            raise
        return LdapLink(connection, self._search, self._timeout_s)

    def _begin(self, connection: Any, watch: Callable[[int], None]) -> None:
        connection.open(read_server_info=False)
        watch(connection.socket.fileno())
        connection.socket = _Bounded(connection.socket)
        if self._where.starttls:
            if not connection.start_tls(read_server_info=False):
                raise TableDown("TLS did not start")
            connection.socket = _Bounded(connection.socket)
        if self._where.bind_dn and not connection.bind(read_server_info=False):
            raise TableDown(f"bind as {self._where.bind_dn}: {_said(connection)}")


class Where:
    """Which server, and as whom."""

    def __init__(self, url: str, *, bind_dn: str, password_file: str, starttls: bool, ca: str) -> None:
        """`url` begins with `ldap://`, `ldaps://` or `ldapi://`; no file `ca` stands for the system's authorities."""
        self.url = url
        self.bind_dn = bind_dn
        self.password_file = password_file
        self.starttls = starttls
        self.ca = ca
        self.has_tls = starttls or url.startswith("ldaps:")


class Search:
    """What is asked: below `base`, as far as `scope`, for entries that a filter matches; of these one attribute."""

    def __init__(self, base: str, scope: str, template: str, attribute: str) -> None:
        self.base = base
        self.scope = SCOPES[scope]
        self.template = template
        self.attribute = attribute


class LdapLink:
    """A connection."""

    def __init__(self, connection: Any, search: Search, timeout_s: int) -> None:
        self._connection = connection
        self._search = search
        self._timeout_s = timeout_s

    def ask(self, key: bytes) -> bytes | None:
        """The attribute's values in all entries found; raises `TableDown` or `Gone`. Blocks."""
        search = self._search
        words = filled(search.template, key)
        if words is None:
            return None
        self._connection.socket.count_anew()
        try:
            self._connection.search(
                search.base,
                words,
                search.scope,
                attributes=[search.attribute],
                size_limit=VALUES,
                time_limit=self._timeout_s,
            )
            if self._connection.result["result"] != SUCCESS:
                is_too_much = self._connection.result["result"] == SIZE_LIMIT_EXCEEDED
                raise TableDown(_said(self._connection), of_key=is_too_much)
            return joined(_values(self._connection.response))
        except LDAPCommunicationError as error:
            raise Gone(without_secret(error, "")) from None
        except _BROKEN as error:
            raise TableDown(without_secret(error, "")) from None

    def close(self) -> None:
        """Close it, without a word to the server: it may be one that does not read."""
        _close(self._connection)


class TooMuch(ValueError):
    """A server sends more than is believed."""


class _VerifiedTls(Tls):
    """TLS with verification, in place of what the library has: it compares names by itself, and sends none."""

    def __init__(self, ca: str, watch: Callable[[int], None]) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self.failure = ""  # why it did not work, which the library wraps more than once
        # On Python's own terms, which get stricter with its versions.
        self._context = ssl.create_default_context(cafile=ca or None)
        self._watch = watch

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        """Called by the library before the first byte, or after StartTLS."""
        plain = connection.socket.plain if isinstance(connection.socket, _Bounded) else connection.socket
        self._watch(plain.fileno())
        try:
            connection.socket = self._context.wrap_socket(plain, server_hostname=connection.server.host)
        except (OSError, ValueError) as error:
            self.failure = f"TLS: {getattr(error, 'verify_message', '') or error}"
            raise


class _Bounded:
    """A socket that gives no more than `ANSWER_BYTES` between two calls of `count_anew`."""

    def __init__(self, connected: Any) -> None:
        self.plain = connected
        self._left_bytes = ANSWER_BYTES
        self.sendall = connected.sendall
        self.shutdown = connected.shutdown
        self.close = connected.close

    def count_anew(self) -> None:
        self._left_bytes = ANSWER_BYTES

    def recv(self, size: int) -> bytes:
        data: bytes = self.plain.recv(size)
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            raise TooMuch(f"more than {ANSWER_BYTES} bytes in answer to one search")
        return data


def _values(response: list[dict[str, Any]]) -> list[bytes]:
    """All values of all entries. What is no entry tells of other servers, which are not asked."""
    entries = [entry["raw_attributes"] for entry in response if entry["type"] == "searchResEntry"]
    return [value for attributes in entries for values in attributes.values() for value in values or ()]


def _said(connection: Any) -> str:
    """The result of the last request, in the server's words."""
    result = connection.result
    return without_secret(f"{result['description']} {result.get('message') or ''}", connection.password or "")


def _close(connection: Any) -> None:
    try:
        connection.strategy.close()
    except _BROKEN:  # nobody needs it any more
        return
