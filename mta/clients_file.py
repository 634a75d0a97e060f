"""The memory file in which SMTP workers count the connections of each client network: its layout, and making one.

The supervisor makes it once and hands its descriptor to every worker; it lives as long as one of them does and outlasts
reloads. Little-endian words of 8 bytes, each stored whole:

    0     magic
    8     generation: another random number whenever a worker came or went
    16    seed, 16 bytes, random: where networks are found, so that no client can aim at a place
    32    regions, and buckets in each (4 bytes each)
    4096  the regions, one after the other: one writer each, and any number of readers

A region consists of buckets of 16 words. A word is 0, or the connections of a network (the low 24 bits) below a mark of
40 bits. Bucket and mark of a network come from one keyed hash of its key (`mta.networks.network_of`), so that every
worker looks for it in the same bucket of each region.

Locks (of open file descriptions, which end with the process) tell who has which region. The byte n of the file is
locked by the owner of region n from before it clears the region, the byte `regions` + n from when it has: only then
others count what stands there. What a process that died has left behind is therefore never counted.
"""

import fcntl
import os
import secrets
import struct
from typing import NamedTuple

from mta.errors import IpcError

MAGIC = b"mta-cln1"
HEADER_BYTES = 4096
GENERATION_WORD = 1
WORD_BYTES = 8
BUCKET_WORDS = 16
BUCKET_BYTES = BUCKET_WORDS * WORD_BYTES  # two lines of the cache

REGIONS = 512
"""Twice the workers that can be configured: at a reload the old ones stay until their clients are gone."""

BUCKETS = 4096
"""Half a mebibyte a region. With the 20,000 connections of the default, each from a network of its own, a bucket has 5
of its 16 words in use, and one in 100,000 overflows."""

_HEAD = struct.Struct("<8sQ16sII")


class Layout(NamedTuple):
    """What the head of a file says."""

    seed: bytes
    regions: int
    buckets: int

    @property
    def region_bytes(self) -> int:
        """The size of a region."""
        return self.buckets * BUCKET_BYTES

    def offset(self, region: int) -> int:
        """Where a region begins, in bytes."""
        return HEADER_BYTES + region * self.region_bytes


def create(*, regions: int = REGIONS, buckets: int = BUCKETS) -> int:
    """A new memory file with nothing counted; returns its descriptor. Takes up memory only where it is used.

    `buckets` must be a power of 2. Raises `OSError`.
    """
    layout = Layout(secrets.token_bytes(16), regions, buckets)
    fd = os.memfd_create("mta-clients", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, layout.offset(regions))
        os.pwrite(fd, _HEAD.pack(MAGIC, 0, *layout), 0)
        # Nobody who has mapped it can lose it.
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
    except OSError:
        os.close(fd)
        raise
    return fd


def layout(fd: int) -> Layout:
    """The layout of a file that `create` made; raises `IpcError` for any other."""
    head = os.pread(fd, _HEAD.size, 0)
    if len(head) < _HEAD.size or not head.startswith(MAGIC):
        raise IpcError("the memory file for counting clients is of another version; restart the supervisor")
    _, _, seed, regions, buckets = _HEAD.unpack(head)
    return Layout(seed, regions, buckets)
