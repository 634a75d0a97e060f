"""Certificates and keys in PEM form; most are held in memory, for a library that reads them from files only."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec

_KINDS = {
    b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01": "rsa",  # the object identifiers of public keys
    b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01": "ecdsa",
    b"\x06\x03\x2b\x65\x70": "ed25519",
    b"\x06\x03\x2b\x65\x71": "ed448",
}


class PemError(Exception):
    """The text is not what it should be; the message says in which way, without a secret in it."""


class Facts(msgspec.Struct, frozen=True):
    """What a certificate says: DNS names in lower case, the kind of its key, and when it expires (Unix time)."""

    names: tuple[str, ...]
    kind: str
    expires: float


@contextmanager
def as_file(data: bytes) -> Iterator[str]:
    """The path of a file in memory with that content, for as long as the context lasts. Raises `OSError`."""
    fd = os.memfd_create("mta-pem", os.MFD_CLOEXEC)
    try:
        os.write(fd, data)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def facts(certificate: bytes) -> Facts:
    """What the first certificate of a chain says. Raises `PemError`. Names come from the alternative names, or where
    it has none from the common name."""
    with as_file(certificate) as path:
        try:
            # The one way to read a certificate without a connection; private, and the same from 3.11 to 3.14.
            decoded = ssl._ssl._test_decode_cert(path)  # type: ignore[attr-defined]
        except (ssl.SSLError, ValueError):
            raise PemError("holds no certificate in PEM form") from None
    names = [value for kind, value in decoded.get("subjectAltName", ()) if kind == "DNS"]
    if "subjectAltName" not in decoded:
        names = [value for part in decoded["subject"] for key, value in part if key == "commonName"]
    start = certificate.find(b"-----BEGIN CERTIFICATE-----")
    text = certificate[start : certificate.find(b"-----END CERTIFICATE-----", start)] + b"-----END CERTIFICATE-----\n"
    der = b""
    with suppress(ValueError):
        der = ssl.PEM_cert_to_DER_cert(text.decode("ascii", "replace"))
    kind = next((kind for mark, kind in _KINDS.items() if mark in der), "other")
    expires = float(ssl.cert_time_to_seconds(decoded["notAfter"]))
    return Facts(tuple(dict.fromkeys(name.lower().rstrip(".") for name in names)), kind, expires)


def server_context() -> ssl.SSLContext:
    """A context to try certificates in."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Put a certificate, with its chain, and its key into a context. Raises `PemError`."""
    with as_file(certificate) as certificate_path, as_file(key) as key_path:
        try:
            context.load_cert_chain(certificate_path, key_path, password=_no_password)
        except ssl.SSLError as error:
            if error.reason in ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):  # the latter: one of another kind
                raise PemError("is not the key of that certificate") from None
            if error.reason is None or b"PRIVATE KEY-----" not in key:
                raise PemError("holds no private key in PEM form") from None
            raise PemError(f"cannot be used: {reason(error)}") from None


def load_authorities(context: ssl.SSLContext, certificates: bytes) -> None:
    """Have a context verify against these certificates. Raises `PemError`."""
    with as_file(certificates) as path:
        try:
            context.load_verify_locations(path)
        except ssl.SSLError:
            raise PemError("holds no certificate in PEM form") from None


def trust(context: ssl.SSLContext, authorities: str) -> None:
    """Have a client's context verify against a PEM file, or with no name of one the system's authorities.

    Blocks on reading; raises `PemError`, with the name.
    """
    try:
        if authorities:
            context.load_verify_locations(authorities)
        else:
            context.load_default_certs()
    except OSError as error:  # what OpenSSL says is one, too
        raise PemError(f"{authorities}: {error.strerror or error}") from None


def reason(error: ssl.SSLError) -> str:
    """OpenSSL's word for what went wrong, in lower case: `no_shared_cipher`."""
    return (error.reason or "unknown").lower().replace(" ", "_")


def why(error: ssl.SSLError) -> str:
    """That word, and where a certificate is at fault what about it; nothing in it was chosen by the peer."""
    detail = getattr(error, "verify_message", "")
    return f"{reason(error)}: {detail}" if detail else reason(error)


def _no_password() -> str:
    """Without this OpenSSL would ask for one on the terminal, and wait."""
    raise PemError("is encrypted; a key that can be read without a password is needed")
