"""The memory file by which the supervisor gives certificates, keys and the secret of session tickets to SMTP workers.

Workers have no right to read the files that an administrator keeps keys in, and must not need a restart for new ones.
The supervisor writes, any number of workers read, and nobody waits:

    offset 0     head of slot 0
    offset 64    head of slot 1
    4096         body of slot 0, up to BODY_BYTES
    4096 + BODY_BYTES  body of slot 1

A head is magic (8 bytes), sequence, length and checksum (8 bytes each, little-endian); the checksum (XXH3) covers the
head before it and the body, which is `Secrets` as msgpack. A new state goes into the slot with the lower sequence, body
first, so that the other one stays whole for whoever is reading it. The version of the format is in the magic: a
supervisor and its workers are of one version, so that another one is a fault.
"""

import os
import struct

import msgspec
import xxhash

from mta.errors import IpcError

MAGIC = b"mta-tls1"
BODY_BYTES = 8 << 20  # far more than certificates are; what is not written takes no memory
SECRET_BYTES = 48

_HEAD = struct.Struct("<8sQQQ")
_HEAD_OFFSETS = (0, 64)
_BODY_OFFSETS = (4096, 4096 + BODY_BYTES)
_TRIES = 3


class Identity(msgspec.Struct, frozen=True):
    """A certificate with its chain, its key (both PEM), the names it is for, the kind of its key (`ecdsa`), and when
    it expires (Unix time)."""

    certificate: bytes
    key: bytes
    names: tuple[str, ...]
    kind: str
    expires: float


class Secrets(msgspec.Struct, frozen=True):
    """What workers need for TLS: at least one identity; PEM of the authorities for client certificates, or nothing;
    and random bytes that the keys of session tickets are made from."""

    identities: list[Identity]
    client_ca: bytes
    ticket_secret: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Secrets)


def create() -> int:
    """A new memory file, without content and for our own user only; returns its descriptor."""
    fd = os.memfd_create("mta-tls", os.MFD_CLOEXEC)
    os.fchmod(fd, 0o600)
    return fd


def read_only(fd: int) -> int:
    """Another descriptor of the file, by which it cannot be changed: for workers, which face the network."""
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)


def write(fd: int, secrets: Secrets) -> None:
    """Make `secrets` what readers get from now on. Does not block. Raises `ValueError` when they are too large."""
    body = _encoder.encode(secrets)
    if len(body) > BODY_BYTES:
        raise ValueError(f"{len(body)} bytes; at most {BODY_BYTES} are allowed")
    sequences = [sequence for sequence, _, _ in _heads(fd)]
    slot = sequences.index(min(sequences))
    os.pwrite(fd, body, _BODY_OFFSETS[slot])
    os.pwrite(fd, _head(max(sequences) + 1, body), _HEAD_OFFSETS[slot])


class Reader:
    """One worker's view of the file."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._sequence = -1

    def read(self) -> Secrets | None:
        """What the file has now, or `None` when that is what the last call returned.

        Two system calls at most when all is well, one when nothing changed; does not block. Raises `IpcError`, having
        tried a few times, when there is nothing whole in the file.
        """
        for _ in range(_TRIES):
            heads = _heads(self._fd)
            sequence, length, checksum = max(heads)
            if sequence <= self._sequence:
                return None
            if not 0 < length <= BODY_BYTES:
                continue
            body = os.pread(self._fd, length, _BODY_OFFSETS[heads.index((sequence, length, checksum))])
            if _head(sequence, body) != _HEAD.pack(MAGIC, sequence, length, checksum):
                continue  # it was being written
            try:
                secrets = _decoder.decode(body)
            except msgspec.MsgspecError as error:
                raise IpcError(f"the memory file with certificates is not understood: {error}") from None
            self._sequence = sequence
            return secrets
        raise IpcError("the memory file with certificates has nothing whole in it")


def _heads(fd: int) -> list[tuple[int, int, int]]:
    """Sequence, length and checksum of both slots; zeros where there is nothing."""
    data = os.pread(fd, _HEAD_OFFSETS[1] + _HEAD.size, 0).ljust(_HEAD_OFFSETS[1] + _HEAD.size, b"\0")
    found = [_HEAD.unpack_from(data, offset) for offset in _HEAD_OFFSETS]
    return [(fields[1], fields[2], fields[3]) if fields[0] == MAGIC else (0, 0, 0) for fields in found]


def _head(sequence: int, body: bytes) -> bytes:
    opening = _HEAD.pack(MAGIC, sequence, len(body), 0)[:-8]
    return opening + xxhash.xxh3_64_intdigest(opening + body).to_bytes(8, "little")
