"""What OpenSSL can and Python's `ssl` does not offer: ticket keys of our own, certificates that need not verify.

Calls go through ctypes to the very library that `_ssl` is linked with. They need the pointers behind Python's objects,
which stand at fixed places that no interface promises; `library` makes sure of them before anything is called, by
reading only: a context and a session that belong together must point at each other the way they do in CPython 3.11 to
3.14. Where they do not, or where `_ssl` has been built in some other way, `library` is `None`, and those who call do
without.
"""

import ctypes
import ssl
from functools import cache
from typing import Any

SET_SESSION_CACHE_MODE = 44  # SSL_CTRL_SET_SESS_CACHE_MODE of openssl/ssl.h; the names are those of its macros
SET_TICKET_KEYS = 59  # SSL_CTRL_SET_TLSEXT_TICKET_KEYS
SESSION_CACHE_OFF = 0
VERIFY_PEER = 1
X509_V_OK = 0

TICKET_KEYS_BYTES = 80  # name, HMAC key and AES key; the same since OpenSSL 1.1.1

_POINTER = ctypes.sizeof(ctypes.c_void_p)
_HEAD = object.__basicsize__
_CONTEXT_AT = _HEAD  # in a context: SSL_CTX *, the first field
_SESSION_AT = _HEAD + _POINTER  # in a session: a reference to a socket, SSL *, a reference to the context
_SESSION_CONTEXT_AT = _HEAD + 2 * _POINTER
_SESSION_READ_BYTES = 4096  # SSL * points at that much at least; its pointers to the context are in there

_VerifyCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p)


def _accept_any(is_fine: int, store: int | None) -> int:
    """OpenSSL remembers what was wrong, and the handshake goes on."""
    return 1


_accept = _VerifyCallback(_accept_any)  # kept for as long as there is a context that may call it


class Library:
    """The functions in use. Contexts and sessions are Python's own. Nothing here blocks."""

    def __init__(self, functions: Any) -> None:
        """Raises `AttributeError` when a function is missing."""
        self._ctrl = functions.SSL_CTX_ctrl
        self._ctrl.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p)
        self._ctrl.restype = ctypes.c_long
        self._get_options = functions.SSL_CTX_get_options
        self._get_options.argtypes = (ctypes.c_void_p,)
        self._get_options.restype = ctypes.c_uint64
        self._set_verify = functions.SSL_CTX_set_verify
        self._set_verify.argtypes = (ctypes.c_void_p, ctypes.c_int, _VerifyCallback)
        self._set_verify.restype = None
        self._get_verify_result = functions.SSL_get_verify_result
        self._get_verify_result.argtypes = (ctypes.c_void_p,)
        self._get_verify_result.restype = ctypes.c_long

    def works(self) -> bool:
        """Whether objects have the layout that the other methods count on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        session = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)._sslobj  # type: ignore[attr-defined]
        if type(session).__basicsize__ < _SESSION_CONTEXT_AT + _POINTER:
            return False
        inner_context, inner_session = _pointer(context, _CONTEXT_AT), _pointer(session, _SESSION_AT)
        if not inner_context or inner_session in (0, inner_context, id(context)):
            return False
        if _pointer(session, _SESSION_CONTEXT_AT) != id(context):
            return False
        if inner_context.to_bytes(_POINTER, "little") not in _memory(inner_session, _SESSION_READ_BYTES):
            return False
        # It has the right address; now it is safe to ask OpenSSL itself.
        keys_bytes: int = self._ctrl(inner_context, SET_TICKET_KEYS, 0, None)
        options: int = self._get_options(inner_context)
        return keys_bytes == TICKET_KEYS_BYTES and options == context.options & 0xFFFF_FFFF_FFFF_FFFF

    def set_ticket_keys(self, context: ssl.SSLContext, keys: bytes) -> None:
        """Have the context seal and open session tickets with these keys, `TICKET_KEYS_BYTES` long."""
        if self._ctrl(_pointer(context, _CONTEXT_AT), SET_TICKET_KEYS, len(keys), keys) != 1:
            raise ValueError("OpenSSL does not take these ticket keys")

    def keep_no_sessions(self, context: ssl.SSLContext) -> None:
        """Remember no sessions in the process, which would be up to 20,480 a context; tickets do without."""
        self._ctrl(_pointer(context, _CONTEXT_AT), SET_SESSION_CACHE_MODE, SESSION_CACHE_OFF, None)

    def accept_any_certificate(self, context: ssl.SSLContext) -> None:
        """Ask clients for a certificate, verify it, and go on whatever comes of that (`is_verified` tells)."""
        self._set_verify(_pointer(context, _CONTEXT_AT), VERIFY_PEER, _accept)

    def is_verified(self, tls: ssl.SSLObject) -> bool:
        """Whether verifying the client's certificate found no fault, in this handshake or in the one it goes on from.

        True without a certificate.
        """
        session = tls._sslobj  # type: ignore[attr-defined]
        result: int = self._get_verify_result(_pointer(session, _SESSION_AT))
        return result == X509_V_OK


@cache
def library() -> Library | None:
    """The library, or `None` where it cannot be used safely. Reads a few files, the first time."""
    try:
        found = Library(ctypes.CDLL(getattr(ssl._ssl, "__file__", None)))  # type: ignore[attr-defined]
        return found if found.works() else None
    except (OSError, AttributeError):
        return None


def _pointer(owner: object, offset: int) -> int:
    """The word at `offset` in the memory of a Python object."""
    return ctypes.c_void_p.from_address(id(owner) + offset).value or 0


def _memory(address: int, length: int) -> bytes:
    """What is at an address, as far as there is memory: a wrong one is an `OSError`, not the end of the process."""
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(length)
