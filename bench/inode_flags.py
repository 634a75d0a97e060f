"""Attributes of folders, as chattr(1) sets them. Not every file system has them."""

import fcntl
import os
import struct
from pathlib import Path

GET, SET = 0x80086601, 0x40086602  # FS_IOC_GETFLAGS, FS_IOC_SETFLAGS of <linux/fs.h>
TOPDIR = 0x00020000  # T: what is made in it is spread over the disk
DIRSYNC = 0x00010000  # D: names in it are on disk when the call that changes them returns


def add(folder: Path, flag: int) -> None:
    """Give a folder an attribute. Raises `OSError` where the file system does not have it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        flags = bytearray(8)
        fcntl.ioctl(descriptor, GET, flags)
        fcntl.ioctl(descriptor, SET, struct.pack("l", struct.unpack("l", flags)[0] | flag))
    finally:
        os.close(descriptor)
