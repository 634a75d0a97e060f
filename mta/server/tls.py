"""Contexts for TLS sessions: which certificate, which versions and ciphers, what is asked of clients.

One context has all certificates that a name can be answered with, one for each kind of key; OpenSSL picks by what the
client can verify, ECDSA first. Which context it is depends on the name that the client asks for (SNI,
RFC 6066 section 3): exactly that name, else the wildcard that covers it, else the first certificate of the
configuration.

Session tickets can be opened by every worker, since all make the ticket keys from one secret of the supervisor's. The
keys differ between listeners that treat client certificates differently: or else a session opened where none is asked
for could go on where one is required.
"""

import hashlib
import re
import ssl
import sys
from collections.abc import Callable
from typing import Any, Literal

from mta import log, pem, tls_file
from mta.config import Tls
from mta.errors import IpcError
from mta.server.openssl import TICKET_KEYS_BYTES, Library, library

ClientCertificates = Literal["none", "ask", "require"]

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES"
"""For TLS 1.2, in order of preference: forward secrecy always. The last ones, without AEAD, are for old mail servers,
whose other choice is plain text. TLS 1.3 has OpenSSL's list."""

TICKETS = 1  # a handshake in TLS 1.3; a mail server that opens several connections at once can use one for all

OPTIONS = ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_SINGLE_ECDH_USE

_NAME = re.compile(r"[a-z0-9_.-]{1,253}")


class ServerSide(ssl.SSLObject):
    """One TLS session; `server_name` is what the client asked for, if it could be a name at all."""

    server_name = ""


class TlsContexts:
    """The contexts of one worker, made from the supervisor's memory file and made again when that has changed."""

    def __init__(self, tls_fd: int, settings: Tls, find_library: Callable[[], Library | None] = library) -> None:
        """`tls_fd` is the memory file, -1 without certificates. Raises `IpcError` when nothing whole is in it."""
        self._reader = tls_file.Reader(tls_fd) if tls_fd >= 0 else None
        self._minimum = ssl.TLSVersion.TLSv1_3 if settings.min_version == "1.3" else ssl.TLSVersion.TLSv1_2
        self._secrets: tls_file.Secrets | None = self._reader.read() if self._reader else None
        self._made: dict[str, list[ssl.SSLContext]] = {}  # of each kind of listener, the default context first
        self._problem = ""
        self._library = find_library() if self.available else None
        if self.available and self._library is None:
            log.problem("no access to Python's OpenSSL: tickets are not shared, client certificates are not asked for")
        _silence_bad_names()

    @property
    def available(self) -> bool:
        """Whether there is a certificate."""
        return self._secrets is not None

    def context(self, client_certificates: ClientCertificates) -> ssl.SSLContext:
        """The context to begin a session with; the client's choice of a name may replace it.

        Made at the first call, which reads memory and computes for a millisecond. Raises `IpcError` without
        certificates.
        """
        made = self._made.get(client_certificates)
        if made is None:
            if self._secrets is None:
                raise IpcError("there is no certificate to speak TLS with")
            made = self._made[client_certificates] = self._make(client_certificates, self._secrets)
        return made[0]

    def refresh(self) -> bool:
        """Take what the supervisor has written since; returns whether that was something. Cheap when it was nothing.

        Sessions that have begun are not concerned. Raises nothing: what cannot be used is reported once, and what is
        there stays.
        """
        if self._reader is None:
            return False
        try:
            secrets = self._reader.read()
            if secrets is None:
                return False
            self._take(secrets)
        except (IpcError, pem.PemError, ssl.SSLError, OSError) as error:
            if str(error) != self._problem:
                self._problem = str(error)
                log.problem("new certificates cannot be used", reason=self._problem)
            return False
        self._problem = ""
        return True

    def _take(self, secrets: tls_file.Secrets) -> None:
        old = self._secrets
        if old is not None and (old.identities, old.client_ca) == (secrets.identities, secrets.client_ca):
            for mode, contexts in self._made.items():
                for context in contexts:
                    self._set_ticket_keys(context, mode, secrets)
        else:
            self._made = {mode: self._make(mode, secrets) for mode in self._made}
            log.note("certificates", count=len(secrets.identities))
        self._secrets = secrets

    def _make(self, mode: str, secrets: tls_file.Secrets) -> list[ssl.SSLContext]:
        """All contexts of one kind of listener, the default one first."""
        identities = secrets.identities
        contexts: dict[tuple[int, ...], ssl.SSLContext] = {}

        def having(group: tuple[int, ...]) -> ssl.SSLContext:
            if group not in contexts:
                contexts[group] = self._one(mode, secrets, [identities[number] for number in group])
            return contexts[group]

        default = having(_companions(identities))
        names = {name for identity in identities for name in identity.names}
        default.sni_callback = _chooser(default, {name: having(_bearers(identities, name)) for name in names})
        return list(contexts.values())

    def _one(self, mode: str, secrets: tls_file.Secrets, identities: list[tls_file.Identity]) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = self._minimum
        context.options |= OPTIONS
        context.set_ciphers(CIPHERS)
        context.num_tickets = TICKETS
        context.sslobject_class = ServerSide
        for identity in identities:
            pem.load_pair(context, identity.certificate, identity.key)
        if mode == "require":
            context.verify_mode = ssl.CERT_REQUIRED
        elif mode == "ask" and self._library is not None:
            context.verify_mode = ssl.CERT_OPTIONAL
            self._library.accept_any_certificate(context)
        if secrets.client_ca and context.verify_mode != ssl.CERT_NONE:
            pem.load_authorities(context, secrets.client_ca)
        if self._library is not None:
            self._library.keep_no_sessions(context)
            self._set_ticket_keys(context, mode, secrets)
        return context

    def _set_ticket_keys(self, context: ssl.SSLContext, mode: str, secrets: tls_file.Secrets) -> None:
        if self._library is not None:
            # What was verified against other authorities is not verified.
            authorities = hashlib.sha256(secrets.client_ca).digest()
            material = secrets.ticket_secret + authorities + mode.encode()
            self._library.set_ticket_keys(context, hashlib.shake_256(material).digest(TICKET_KEYS_BYTES))


def _bearers(identities: list[tls_file.Identity], name: str) -> tuple[int, ...]:
    """The certificates to answer a name with: of each kind of key the first that has it."""
    found: dict[str, int] = {}
    for number, identity in enumerate(identities):
        if name in identity.names:
            found.setdefault(identity.kind, number)
    return tuple(found.values())


def _companions(identities: list[tls_file.Identity]) -> tuple[int, ...]:
    """The first certificate, and of each other kind of key the first that is for all of its names."""
    names = set(identities[0].names)
    found = {identities[0].kind: 0}
    for number, identity in enumerate(identities):
        if names and names <= set(identity.names):
            found.setdefault(identity.kind, number)
    return tuple(found.values())


def _chooser(
    default: ssl.SSLContext, by_name: dict[str, ssl.SSLContext]
) -> Callable[[Any, str | None, ssl.SSLContext], None]:
    """What OpenSSL asks when a client has said which name it wants."""

    def choose(tls: ServerSide, asked: str | None, context: ssl.SSLContext) -> None:
        name = (asked or "").lower().rstrip(".")
        if not _NAME.fullmatch(name):
            return
        tls.server_name = name
        chosen = by_name.get(name) or by_name.get("*." + name.partition(".")[2])
        if chosen is not None and chosen is not default:
            tls.context = chosen

    return choose


def _silence_bad_names() -> None:
    """Have nothing written to standard error about names that are not ASCII; Python ends such a handshake itself."""
    if sys.unraisablehook is not _on_unraisable:
        _previous_hook.append(sys.unraisablehook)
        sys.unraisablehook = _on_unraisable


_previous_hook: list[Callable[[Any], Any]] = []


def _on_unraisable(about: Any) -> None:
    if about.exc_type is UnicodeDecodeError and isinstance(about.object, bytes):
        return
    _previous_hook[-1](about)
