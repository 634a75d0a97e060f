"""What all connections of one worker share, and count together."""

import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from mta.config import Limits
from mta.server.bodies import BodyWaits
from mta.server.clients import ClientTable
from mta.server.commit import GroupCommit
from mta.server.stream import RECEIVE_BUFFER_BYTES, Clock
from mta.server.tls import TlsContexts
from mta.spool.writer import SpoolWriter

CROWDED = 4  # stress begins when one part of so many is left


class Shared:
    """A worker's one spool writer, receive buffer and clock, and what its connections hold in all.

    `root` is the spool; `clients` counts connections by client network for all workers; `tls` has the certificates.
    """

    def __init__(
        self,
        root: Path,
        writer: SpoolWriter,
        commit: GroupCommit,
        clock: Clock,
        limits: Limits,
        *,
        clients: ClientTable,
        tls: TlsContexts,
    ) -> None:
        self._root = root
        self.writer = writer
        self.commit = commit
        self.bodies = BodyWaits(writer)
        self.clock = clock
        self.clients = clients
        self.tls = tls
        self.limits = limits
        self.buffer = bytearray(RECEIVE_BUFFER_BYTES)
        self.view = memoryview(self.buffer)
        self.connections: set[Any] = set()
        self.held_bytes = 0  # content and many recipients in memory, in all connections; see limits.memory_bytes
        self.is_draining = False
        self.is_stressed = False  # as of the last sweep
        self.free_bytes: float = math.inf  # on the spool's disk, as of the last sweep

    def has_memory(self) -> bool:
        """Whether another message may begin, or get another recipient."""
        return self.held_bytes < self.limits.memory_bytes

    def look_at_disk(self) -> None:
        """See how much room the disk has: a message that tells its size can be refused before it comes (RFC 1870)."""
        with suppress(OSError):  # what is wrong there, the next write will tell
            disk = os.statvfs(self._root)
            self.free_bytes = disk.f_bavail * disk.f_frsize

    def is_crowded(self) -> bool:
        """Whether three quarters of what there may be are used up, and clients have to hurry (Postfix: stress mode)."""
        limits = self.limits
        return len(self.connections) * CROWDED >= limits.connections * (
            CROWDED - 1
        ) or self.held_bytes * CROWDED >= limits.memory_bytes * (CROWDED - 1)
