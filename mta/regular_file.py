"""Files that a configuration names, opened without waiting for a FIFO that has the name instead."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO


class NotRegular(OSError):
    """What has the name is a FIFO, a socket or a device."""

    def __init__(self) -> None:
        super().__init__(0, "it is no regular file")


@contextmanager
def open_regular(path: str) -> Iterator[BinaryIO]:
    """A regular file, for reading. Raises `NotRegular`, and other `OSError` as they come. Blocks on the disk."""
    with open(path, "rb", opener=without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise NotRegular
        yield file


def without_waiting(path: str, flags: int) -> int:
    """Opens whatever has the name, as `open` asks its opener to."""
    return os.open(path, flags | os.O_NONBLOCK)
