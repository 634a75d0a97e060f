"""What all connections of one worker share, and count together."""

from typing import Any

from mta.config import Limits
from mta.server.bodies import BodyWaits
from mta.server.commit import GroupCommit
from mta.server.stream import RECEIVE_BUFFER_BYTES, Clock
from mta.spool.writer import SpoolWriter


class Shared:
    """A worker's one spool writer, receive buffer and clock, and what its connections hold in all."""

    def __init__(self, writer: SpoolWriter, commit: GroupCommit, clock: Clock, limits: Limits) -> None:
        self.writer = writer
        self.commit = commit
        self.bodies = BodyWaits(writer)
        self.clock = clock
        self.limits = limits
        self.buffer = bytearray(RECEIVE_BUFFER_BYTES)
        self.view = memoryview(self.buffer)
        self.connections: set[Any] = set()
        self.held_bytes = 0  # message content in memory, in all connections; bounded by limits.memory_bytes
        self.is_draining = False

    def has_memory(self) -> bool:
        """Whether another message may begin."""
        return self.held_bytes < self.limits.memory_bytes
