"""Certificates, keys and the secret of session tickets: read from their files, and given to SMTP workers.

Only the supervisor reads the files, as the user it was started as. It looks at them every `LOOK_S` seconds, and reads
them again when one has another time, size or inode: a renewed certificate needs no signal. New files with a fault in
them are reported once, and what was there before stays at work until they are mended.
"""

import os
import secrets
from collections.abc import Callable
from time import time

from mta import log, pem, tls_file
from mta.config import Config, Tls
from mta.errors import ConfigError
from mta.regular_file import without_waiting

LOOK_S = 10.0
ROTATE_S = 12 * 3600.0
"""A ticket opens a session to whoever has its key, long after: keys live for hours, and never on disk. The price of
a new one is that each client's next handshake is a full one."""

FILE_BYTES = 1 << 20  # the bundle of a whole operating system has a quarter of that

Signature = tuple[tuple[int, int, int] | None, ...]


class Certificates:
    """The certificates of one configuration, in a memory file of their own."""

    def __init__(self, settings: Tls, now: float, kept: "Certificates | None" = None) -> None:
        """Read the files. Raises `ConfigError` with all their faults. `now` is monotonic seconds.

        `kept` are the certificates of a configuration that this one follows: tickets stay good over a reload.
        """
        self._settings = settings
        self._signature = signature(settings)
        self._secret, self._rotate_at = secrets.token_bytes(tls_file.SECRET_BYTES), now + ROTATE_S
        if kept is not None:
            self._secret, self._rotate_at = kept._secret, kept._rotate_at
        self._look_at = now + LOOK_S
        self._file = -1
        self.fd = -1
        """What workers get: a descriptor that can be read only; -1 without certificates."""
        try:
            self._identities, self._client_ca = read(settings)
            if self._identities:
                self._file = tls_file.create()
                self._write(self._identities, self._client_ca)
                self.fd = tls_file.read_only(self._file)
        except OSError as error:
            self.close()
            raise ConfigError([f"tls: certificates cannot be given to workers: {error}"]) from None
        except ConfigError:
            self.close()
            raise

    @property
    def due_at(self) -> float | None:
        """When `tend` has something to do next."""
        return min(self._look_at, self._rotate_at) if self._file >= 0 else None

    def tend(self, now: float) -> None:
        """Do what is due: look whether files changed, rotate the secret. Blocks on reading files that changed."""
        if self._file < 0:
            return
        try:
            if now >= self._rotate_at:
                self._secret, self._rotate_at = secrets.token_bytes(tls_file.SECRET_BYTES), now + ROTATE_S
                self._write(self._identities, self._client_ca)
                log.note("ticket_keys")
            if now >= self._look_at:
                self._look_at = now + LOOK_S
                self._look()
        except OSError as error:  # no memory, no descriptors; workers go on with what they have, and we try again
            self._signature = ()
            log.problem("certificates cannot be given to workers", reason=str(error))

    def tell(self) -> None:
        """Log which certificates are at work, and which of them have expired."""
        for identity in self._identities:
            about: dict[str, object] = {"names": " ".join(identity.names), "key": identity.kind}
            days = int((identity.expires - time()) // 86400)
            if days < 0:
                log.problem("a certificate has expired", **about)
            log.note("certificate", **about, days_left=days)

    def close(self) -> None:
        """Close our descriptors; workers keep theirs."""
        for fd in (self._file, self.fd):
            if fd >= 0:
                os.close(fd)
        self._file = self.fd = -1

    def _look(self) -> None:
        seen = signature(self._settings)
        if seen == self._signature:
            return
        self._signature = seen  # as of before reading: a file that changes meanwhile is read again next time
        try:
            identities, client_ca = read(self._settings)
            self._write(identities, client_ca)
        except ConfigError as error:
            for line in error.problems:
                log.problem(line)
            log.problem("the certificates stay as they were")
        else:
            self._identities, self._client_ca = identities, client_ca
            self.tell()

    def _write(self, identities: list[tls_file.Identity], client_ca: bytes) -> None:
        try:
            tls_file.write(self._file, tls_file.Secrets(identities, client_ca, self._secret))
        except ValueError as error:
            raise ConfigError([f"tls: certificates and keys are too large: {error}"]) from None


def check(config: Config, file: str) -> None:
    """Whether the certificates of a configuration can be used, as read by whoever we are. Blocks on reading them.

    Raises `ConfigError` with every fault, each with the name of the configuration `file` in front.
    """
    try:
        read(config.tls)
    except OSError as error:
        raise ConfigError([f"{file}: tls: cannot be checked: {error}"]) from None
    except ConfigError as error:
        raise ConfigError([f"{file}: {problem}" for problem in error.problems]) from None


def read(settings: Tls) -> tuple[list[tls_file.Identity], bytes]:
    """The identities of the configured files, the first one first, and the text of `client_ca`.

    Blocks on reading. Raises `ConfigError` with a line for every fault, each with the key and the file it is about,
    and `OSError` when there is no memory or no descriptor to look at them with.
    """
    faults: list[str] = []
    pairs = [("tls", settings.certificate, settings.key)] if settings.certificate else []
    pairs += [(f"tls.extra[{n}]", extra.certificate, extra.key) for n, extra in enumerate(settings.extra)]
    identities: list[tls_file.Identity] = []
    for where, certificate_file, key_file in pairs:
        identity = _identity(where, certificate_file, key_file, faults)
        if identity is None:
            continue
        if any((known.names, known.kind) == (identity.names, identity.kind) for known in identities):
            names = " ".join(identity.names) or "no name"
            faults.append(f"{where}.certificate: {certificate_file}: a second one for {names} with a key of that kind")
        identities.append(identity)
    client_ca = b""
    if settings.client_ca:
        where = "tls.client_ca"
        client_ca = _content(where, settings.client_ca, faults)
        if client_ca:
            _try(where, settings.client_ca, faults, lambda: pem.load_authorities(pem.server_context(), client_ca))
    if faults:
        raise ConfigError(faults)
    return identities, client_ca


def signature(settings: Tls) -> Signature:
    """What tells a changed file from the same: time, size and inode of each; `None` for one that is not there."""
    return tuple(_stamp(path) for path in _paths(settings))


def _paths(settings: Tls) -> list[str]:
    paths = [settings.certificate, settings.key, settings.client_ca]
    for extra in settings.extra:
        paths += [extra.certificate, extra.key]
    return [path for path in paths if path]


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _identity(where: str, certificate_file: str, key_file: str, faults: list[str]) -> tls_file.Identity | None:
    """A certificate with its key; `None`, and more `faults`, where that is not what the files have."""
    certificate = _content(f"{where}.certificate", certificate_file, faults)
    key = _content(f"{where}.key", key_file, faults) if key_file else b""
    if not key_file:
        faults.append(f"{where}.key: is missing; the key of {certificate_file} is needed")
    found: list[pem.Facts] = []
    if certificate:
        _try(f"{where}.certificate", certificate_file, faults, lambda: found.append(pem.facts(certificate)))
    if not found or not key:
        return None
    if not _try(f"{where}.key", key_file, faults, lambda: pem.load_pair(pem.server_context(), certificate, key)):
        return None
    return tls_file.Identity(certificate, key, found[0].names, found[0].kind, found[0].expires)


def _content(where: str, path: str, faults: list[str]) -> bytes:
    """The content of a file; nothing, and one more of `faults`, where it cannot be read."""
    try:
        with open(path, "rb", opener=without_waiting) as file:
            data = file.read(FILE_BYTES + 1)
    except OSError as error:
        faults.append(f"{where}: {path}: cannot be read: {error.strerror}")
        return b""
    if len(data) > FILE_BYTES:
        faults.append(f"{where}: {path}: longer than {FILE_BYTES} bytes")
        return b""
    if not data:
        faults.append(f"{where}: {path}: is empty")
    return data


def _try(where: str, path: str, faults: list[str], step: Callable[[], object]) -> bool:
    try:
        step()
    except pem.PemError as error:
        faults.append(f"{where}: {path}: {error}")
        return False
    return True
