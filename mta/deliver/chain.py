"""A server's chain of certificates, verified with trust anchors that somebody else names (RFC 5280 section 6.1).

Python's `ssl` verifies within a handshake only, with anchors that were known before. Those of DANE are known behind it:
a record may name one by its digest alone, and the certificate is what the server sends. So the chain is given to
OpenSSL's X509_verify_cert once more, through ctypes and in the very library that `_ssl` is linked with. Bytes go in,
a number comes out; no object of Python's is looked into. Where the library lacks a function, `is_available` is False.

An anchor need not be self-signed (X509_V_FLAG_PARTIAL_CHAIN). Dates and uses of all certificates count, the anchor's
included, and signatures are at least of OpenSSL's security level 1: no MD5, no SHA-1.
"""

import ctypes
import re
import ssl
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import cache
from typing import Any, NamedTuple

PURPOSE_SSL_SERVER = 2  # X509_PURPOSE_SSL_SERVER of openssl/x509v3.h
NO_PARTIAL_WILDCARDS = 0x4  # X509_CHECK_FLAG_...: `*` is a whole label, the first one (RFC 6125 section 6.4.3)
PARTIAL_CHAIN = 0x80000  # X509_V_FLAG_... of openssl/x509_vfy.h
SECURITY_LEVEL = 1
UNSPECIFIED = 1  # X509_V_ERR_UNSPECIFIED

CERTIFICATES = 20  # of a chain that are looked at; OpenSSL's own limit of a handshake is 100 KB

# What OpenSSL gives no meaning of its own; a dot in front, say, would stand for any name below.
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")

_POINTER, _INT, _LONG, _TEXT = ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_char_p
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "ERR_clear_error": (None, ()),
    "d2i_X509": (_POINTER, (_POINTER, ctypes.POINTER(_POINTER), _LONG)),
    "X509_free": (None, (_POINTER,)),
    "OPENSSL_sk_new_null": (_POINTER, ()),
    "OPENSSL_sk_push": (_INT, (_POINTER, _POINTER)),
    "OPENSSL_sk_free": (None, (_POINTER,)),
    "X509_STORE_new": (_POINTER, ()),
    "X509_STORE_add_cert": (_INT, (_POINTER, _POINTER)),
    "X509_STORE_free": (None, (_POINTER,)),
    "X509_STORE_CTX_new": (_POINTER, ()),
    "X509_STORE_CTX_init": (_INT, (_POINTER, _POINTER, _POINTER, _POINTER)),
    "X509_STORE_CTX_get0_param": (_POINTER, (_POINTER,)),
    "X509_STORE_CTX_get_error": (_INT, (_POINTER,)),
    "X509_STORE_CTX_free": (None, (_POINTER,)),
    "X509_VERIFY_PARAM_set_flags": (_INT, (_POINTER, ctypes.c_ulong)),
    "X509_VERIFY_PARAM_set_purpose": (_INT, (_POINTER, _INT)),
    "X509_VERIFY_PARAM_set_auth_level": (None, (_POINTER, _INT)),
    "X509_VERIFY_PARAM_set_hostflags": (None, (_POINTER, ctypes.c_uint)),
    "X509_VERIFY_PARAM_add1_host": (_INT, (_POINTER, _TEXT, ctypes.c_size_t)),
    "X509_verify_cert": (_INT, (_POINTER,)),
    "X509_verify_cert_error_string": (_TEXT, (_LONG,)),
}


class Fault(NamedTuple):
    """Why a chain is not good: OpenSSL's number (X509_V_ERR_...), and its words."""

    number: int
    text: str


def is_available() -> bool:
    """Whether `fault` can be asked."""
    return _library() is not None


def is_certificate(data: bytes) -> bool:
    """Whether `data` is one certificate in DER, and nothing behind it."""
    functions = _library()
    if functions is None:
        return False
    with ExitStack() as held:
        held.callback(functions.ERR_clear_error)
        return _certificate(functions, data, held) is not None


def fault(certificates: Sequence[bytes], anchors: Iterable[bytes], names: Iterable[str]) -> Fault | None:
    """Why the first of a server's `certificates` is not vouched for, or None where it is.

    All are in DER. It has to be for one of `names`, and now; the other certificates help to find the way to one of the
    `anchors`. Those that cannot be read are passed over. Takes some 100 us a certificate, and does not block.
    """
    functions = _library()
    if functions is None:
        return Fault(UNSPECIFIED, "OpenSSL cannot be asked")
    with ExitStack() as held:
        # What OpenSSL notes of its errors belongs to the thread, and would be taken for a session's.
        held.callback(functions.ERR_clear_error)
        return _fault(functions, held, certificates, anchors, names)


def _fault(
    functions: Any, held: ExitStack, certificates: Sequence[bytes], anchors: Iterable[bytes], names: Iterable[str]
) -> Fault | None:
    """As `fault`; what was made is let go of by `held`, last first."""

    def made(constructor: str, destructor: str) -> int:
        pointer: int | None = getattr(functions, constructor)()
        if not pointer:
            raise MemoryError
        held.callback(getattr(functions, destructor), pointer)
        return pointer

    chain = [_certificate(functions, data, held) for data in certificates[:CERTIFICATES]]
    if not chain or chain[0] is None:
        return Fault(UNSPECIFIED, "the certificate cannot be read")
    store, untrusted = made("X509_STORE_new", "X509_STORE_free"), made("OPENSSL_sk_new_null", "OPENSSL_sk_free")
    for data in anchors:
        anchor = _certificate(functions, data, held)
        if anchor is not None:
            functions.X509_STORE_add_cert(store, anchor)
    for certificate in chain[1:]:
        if certificate is not None:
            functions.OPENSSL_sk_push(untrusted, certificate)
    context = made("X509_STORE_CTX_new", "X509_STORE_CTX_free")
    if functions.X509_STORE_CTX_init(context, store, chain[0], untrusted) != 1:
        raise MemoryError
    parameters = functions.X509_STORE_CTX_get0_param(context)
    functions.X509_VERIFY_PARAM_set_flags(parameters, PARTIAL_CHAIN)
    functions.X509_VERIFY_PARAM_set_purpose(parameters, PURPOSE_SSL_SERVER)
    functions.X509_VERIFY_PARAM_set_auth_level(parameters, SECURITY_LEVEL)
    functions.X509_VERIFY_PARAM_set_hostflags(parameters, NO_PARTIAL_WILDCARDS)
    known = [name.encode("ascii") for name in names if _NAME.fullmatch(name)]
    if not known:  # without one OpenSSL takes any certificate
        return Fault(UNSPECIFIED, "there is no name to verify")
    for name in known:
        if functions.X509_VERIFY_PARAM_add1_host(parameters, name, len(name)) != 1:
            return Fault(UNSPECIFIED, "a name that no certificate could have")
    if functions.X509_verify_cert(context) == 1:
        return None
    number: int = functions.X509_STORE_CTX_get_error(context)
    text: bytes = functions.X509_verify_cert_error_string(number) or b"unknown"
    return Fault(number or UNSPECIFIED, text.decode("ascii", "replace"))


def _certificate(functions: Any, data: bytes, held: ExitStack) -> int | None:
    """A certificate as OpenSSL has it, let go of by `held`; None where there is none."""
    text = ctypes.create_string_buffer(data, len(data))
    start = ctypes.addressof(text)
    at = _POINTER(start)
    pointer: int | None = functions.d2i_X509(None, ctypes.byref(at), len(data))
    if not pointer:
        return None
    held.callback(functions.X509_free, pointer)
    return pointer if at.value == start + len(data) else None


@cache
def _library() -> Any:
    """The functions, or None where one is missing."""
    try:
        found = ctypes.CDLL(getattr(ssl._ssl, "__file__", None))  # type: ignore[attr-defined]
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(found, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):
        return None
    return found
