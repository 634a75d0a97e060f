"""Many small files in one call, for callers and for mypy; how it works stands in `_files.pyx`."""

from collections.abc import Iterable

FILE_MODE: int  # of the files that are made

def store(wanted: Iterable[tuple[int, str, bytes, bytes]], sync: bool) -> list[int]:
    """Write a new file for each (descriptor of its folder, name, what comes first, what follows); close all.

    With `sync` the content of each is on the disk before the next is begun. Returns an errno for each, 0 where it went
    well; a file that failed is removed, and does not concern the others. Follows no symbolic link. Blocks, without the
    interpreter lock. Raises `TypeError` or `ValueError` for what is no such tuple, before anything is written.
    """

def move(wanted: Iterable[tuple[str, int, int]]) -> list[int]:
    """Rename each (name, descriptor of the folder it is in, of the one it is to be in), keeping the name.

    Returns an errno for each, 0 where it went well. Both folders are of one file system. Blocks, without the
    interpreter lock. Raises `TypeError` or `ValueError` for what is no such tuple, before anything is moved.
    """
