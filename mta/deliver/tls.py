"""TLS on the way out: how much of it a transport wants, and the client's side of a session, without a socket.

At the levels `optional` and `required` any certificate is taken: whoever can change what is sent between the hosts can
take its place. `verify` wants one from a known authority, for the name of the next hop (RFC 6125 section 6.4). DANE is
not configured: hosts whose signed zone has records for them get it instead of another level (`mta.deliver.dane`). So it
is with hosts of a domain that has a policy (`mta.deliver.sts`): a certificate as with `verify` is demanded, or where
the policy is for testing, asked for and done without.
"""

import enum
import re
import ssl
from collections.abc import Sequence
from contextlib import suppress
from functools import cache

import msgspec

from mta import pem
from mta.config import Transport as Settings
from mta.deliver import chain, dane
from mta.dns.message import Tlsa
from mta.endpoint import Unix, parse_next_hop
from mta.errors import ConfigError, PeerError
from mta.tls_facts import TlsFacts

HANDSHAKE_BYTES = 131072  # of a server, in a handshake: a chain of certificates (OpenSSL takes 100 KiB) fits
UNSENT_BYTES = 4096  # of answers to key updates, that wait for what we say next to go with it
RECORD_BYTES = 16384  # of plain text in a record (RFC 8446 section 5.1)

CIPHERS = "DEFAULT"
"""OpenSSL's list, for TLS 1.2. A server chooses; one that has nothing better than a key without forward secrecy would
be sent plain text instead."""


class Level(enum.Enum):
    """How much TLS; the values are those of the configuration, and what is said of a session in the log."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"
    VERIFY = "verify"
    DANE = "dane"
    STS = "sts"
    TESTING = "testing"


_VERIFYING = (Level.VERIFY, Level.STS, Level.TESTING)


class TlsFailure(PeerError):
    """The handshake, or a record behind it, is not as it must be; the connection is of no more use.

    `result` says so in the words of reports (RFC 8460 section 4.3).
    """

    def __init__(self, text: str, result: str = "validation-failure") -> None:
        super().__init__(text)
        self.result = result


class Policy(msgspec.Struct, frozen=True):
    """What one next hop gets. `name` is what it is asked for (SNI), and what its certificate must have to be verified.

    `context` is None at the level NONE only. `is_sure`: the name itself is not from a DNS that anybody could forge.
    """

    level: Level
    context: ssl.SSLContext | None = None
    name: str = ""
    is_sure: bool = True
    tlsa: tuple[Tlsa, ...] = ()  # at the level DANE
    names: tuple[str, ...] = ()  # one of which a certificate must have, where a record names its authority only
    base: "Policy | None" = None  # at the level TESTING: what counts

    @property
    def is_verified(self) -> bool:
        """Whether a session that comes about is with the server that is meant."""
        return self.level in (Level.DANE, Level.STS) or (self.level is Level.VERIFY and self.is_sure)

    @property
    def fallback(self) -> "Policy | None":
        """What is tried, on a new connection, where this does not work; None where nothing else will do."""
        return PLAIN if self.level is Level.OPTIONAL else self.base

    def check(self, session: "Session") -> None:
        """Look at what OpenSSL did not verify in the handshake. Raises `TlsFailure`."""
        if self.level is not Level.DANE or dane.is_matched(self.tlsa, session.certificate):
            return
        certificates = session.certificates() if dane.has_anchors(self.tlsa) else []
        anchors = dane.anchors(self.tlsa, certificates)
        if not anchors:
            raise TlsFailure("the certificate matches no TLSA record")
        fault = chain.fault(certificates, anchors, self.names)
        if fault is not None:
            text = f"the authority of a TLSA record does not vouch for the certificate: {fault.text}"
            raise TlsFailure(text, _result(fault.number))

    def demanded(self, demand: dane.Demand) -> "Policy":
        """The same for a host whose records demand something."""
        if self.level is Level.NONE:
            return self
        if demand.records:
            names = [_name(name.decode("ascii", "replace")) for name in (demand.name, *demand.others)]
            known = tuple(filter(None, names))
            return Policy(Level.DANE, _any_certificate(), names[0], tlsa=demand.records, names=known)
        return msgspec.structs.replace(self, level=Level.REQUIRED) if self.level is Level.OPTIONAL else self

    def under_sts(self, context: ssl.SSLContext, host: str, *, is_enforced: bool) -> "Policy":
        """The same for a host that a policy of MTA-STS allows, or that it would not allow if it were not for testing.

        DANE goes before (RFC 8461 section 2); a certificate that is demanded anyway stays so. `context` is one of the
        level STS.
        """
        if self.level in (Level.NONE, Level.DANE):
            return self
        if self.level is Level.VERIFY:
            return msgspec.structs.replace(self, is_sure=True) if is_enforced else self
        if is_enforced:
            return Policy(Level.STS, context, _name(host))
        return Policy(Level.TESTING, context, _name(host), base=self)

    def named(self, name: str, *, is_sure: bool) -> "Policy":
        """The same for a host of that name, unless there is a name already."""
        if self.level is Level.NONE or self.name:
            return self
        return msgspec.structs.replace(self, name=_name(name), is_sure=is_sure)


PLAIN = Policy(Level.NONE)

_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.:-]{0,251}[a-z0-9_])?")


def _name(text: str) -> str:
    """A name as TLS can ask for it, or none: what the DNS holds need not be one."""
    return text if _NAME.fullmatch(text) else ""


# What OpenSSL finds wrong with a certificate (X509_V_ERR_...), in the words of reports (RFC 8460 section 4.3.1).
_RESULTS = {
    **dict.fromkeys((62, 64), "certificate-host-mismatch"),  # HOSTNAME_MISMATCH, IP_ADDRESS_MISMATCH
    **dict.fromkeys((9, 10), "certificate-expired"),  # CERT_NOT_YET_VALID, CERT_HAS_EXPIRED
    # UNABLE_TO_GET_ISSUER_CERT, DEPTH_ZERO_SELF_SIGNED_CERT, SELF_SIGNED_CERT_IN_CHAIN, ..._LOCALLY,
    # UNABLE_TO_VERIFY_LEAF_SIGNATURE, CERT_REVOKED, INVALID_CA, CERT_UNTRUSTED
    **dict.fromkeys((2, 18, 19, 20, 21, 23, 24, 27), "certificate-not-trusted"),
}


def _result(number: int) -> str:
    return _RESULTS.get(number, "validation-failure")


@cache
def _any_certificate() -> ssl.SSLContext:
    """A context for what is not verified by OpenSSL."""
    return make_context(Level.DANE, "")


def level_of(settings: Settings) -> Level:
    """The level of a transport: what it says, or the default, which is optional for SMTP over a network."""
    if settings.tls != "default":
        return Level(settings.tls)
    is_local = settings.kind == "lmtp" or settings.host.startswith("unix:")
    return Level.NONE if is_local else Level.OPTIONAL


def fixed(settings: Settings) -> Policy:
    """What a configured host gets. Reads the authorities; raises `ConfigError` when they cannot be read."""
    level = level_of(settings)
    if level is Level.NONE:
        return PLAIN
    hop = parse_next_hop(settings.host)
    name = settings.tls_name or ("" if isinstance(hop, Unix) else hop.host)
    return Policy(level, make_context(level, settings.tls_ca), name)


def for_hosts(settings: Settings) -> Policy:
    """What each host of a domain gets, but for its name. Raises `ConfigError` as `fixed` does."""
    level = level_of(settings)
    if level is Level.NONE:
        return PLAIN
    return Policy(level, make_context(level, settings.tls_ca), settings.tls_name)


def make_context(level: Level, authorities: str) -> ssl.SSLContext:
    """A context for sessions of that level; `authorities` is a PEM file, or empty for the system's.

    Reads files, where certificates are verified; raises `ConfigError` when they cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996 section 3
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(CIPHERS)
    context.hostname_checks_common_name = level is Level.VERIFY  # not so for policies: RFC 8461 section 4.2
    if level not in _VERIFYING:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        pem.trust(context, authorities)
    except pem.PemError as error:
        raise ConfigError([f"tls_ca {error}"]) from None
    return context


class Session:
    """One session: bytes of the connection in and out, plain text out and in. Nothing here waits."""

    def __init__(self, context: ssl.SSLContext, name: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        try:
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name or None)
        except ValueError:  # of the names that DNS allows, some are none for a certificate
            raise TlsFailure("no name that a certificate could have") from None
        self._taken_bytes = 0
        self.is_over = False  # the server has ended it
        self.facts = TlsFacts("", "", 0)
        self.certificate = b""  # the server's, in DER, once the handshake is done

    def shake(self, data: bytes) -> bool:
        """Go on with the handshake, with what came; returns whether it is done. Raises `TlsFailure`.

        In either case, `take_output` has something to send.
        """
        self._taken_bytes += len(data)
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            if self._taken_bytes > HANDSHAKE_BYTES:
                raise TlsFailure("the handshake does not end") from None
            return False
        except (ssl.SSLError, ssl.CertificateError) as error:
            raise TlsFailure(pem.why(error), _result(getattr(error, "verify_code", 0))) from None
        name, _, bits = self._tls.cipher() or ("", "", 0)
        self.facts = TlsFacts(self._tls.version() or "", name, bits or 0)
        self.certificate = self._tls.getpeercert(binary_form=True) or b""
        return True

    def certificates(self) -> list[bytes]:
        """All that the server sent, in DER, its own first; once the handshake is done."""
        public = getattr(self._tls, "get_unverified_chain", None)  # since Python 3.13
        if public is not None:
            return list(public())
        # The same, private, in 3.11 and 3.12.
        found = self._tls._sslobj.get_unverified_chain() or ()  # type: ignore[attr-defined]
        return [one.public_bytes(ssl._ssl.ENCODING_DER) for one in found]  # type: ignore[attr-defined]

    @property
    def has_output(self) -> bool:
        """Whether `take_output` has something, or `encrypt` would have more than what it is given."""
        return bool(self._outgoing.pending)

    def take_output(self) -> bytes:
        """What is to be sent, besides what `encrypt` gives: of the handshake, or an alert that tells why it ended."""
        return self._outgoing.read()

    def decrypt(self, data: bytes) -> bytes:
        """The plain text that is whole with what came. Raises `TlsFailure`."""
        self._incoming.write(data)
        pieces = []
        try:
            while not self.is_over:
                piece = self._tls.read(RECORD_BYTES)
                self.is_over = not piece
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.is_over = True
        except ssl.SSLError as error:
            raise TlsFailure(pem.why(error)) from None
        if self._outgoing.pending > UNSENT_BYTES:
            raise TlsFailure("too many key updates")
        return b"".join(pieces)

    def encrypt(self, pieces: Sequence[bytes]) -> bytes:
        """What to send for plain text. Raises `TlsFailure`."""
        rest = memoryview(b"".join(pieces))
        try:
            while rest:
                rest = rest[self._tls.write(rest) :]
        except ssl.SSLError as error:
            raise TlsFailure(pem.why(error)) from None
        return self._outgoing.read()

    def finish(self, last: bytes) -> bytes:
        """What to send for `last` and the end of the session; the server's answer is not waited for."""
        with suppress(TlsFailure, ssl.SSLError):
            data = self.encrypt((last,)) if last else b""
            with suppress(ssl.SSLError):
                self._tls.unwrap()
            return data + self._outgoing.read()
        return b""
