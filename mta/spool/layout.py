"""Names of files and folders in the spool, and how a name is made to last.

Nothing here keeps state; who may create, rename or delete what is told in the package's manual.
"""

import functools
import os
import re
from pathlib import Path

import msgspec

_SEGMENT = re.compile(r"([0-9a-f]{8})-([0-9a-f]{16})\.segment")
_BODY = re.compile(r"([0-9a-f]{16})\.body")
_FREE_BODY = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.body")
_FREE_SEGMENT = re.compile(r"[0-9a-f]{16}\.segment")


class SegmentName(msgspec.Struct, frozen=True, order=True):
    """A segment's number and the seed of its checksums, which together are its file's name."""

    number: int
    seed: int

    @property
    def file(self) -> str:
        """The file's name in the folder of its shard."""
        return f"{self.number:08x}-{self.seed:016x}.segment"


def shards_folder(root: Path) -> Path:
    """Where the shards are."""
    return root / "shards"


def shard_folder(root: Path, shard: int) -> Path:
    """The folder of one shard."""
    return root / "shards" / str(shard)


def free_folder(root: Path) -> Path:
    """Where files wait to be used again."""
    return root / "free"


def bodies_folder(root: Path) -> Path:
    """Where the large bodies are."""
    return root / "bodies"


def shard_numbers(root: Path) -> list[int]:
    """The shards that exist, in order; empty where there is no spool yet."""
    try:
        return sorted(int(name) for name in os.listdir(shards_folder(root)) if name.isdecimal())
    except FileNotFoundError:
        return []


def segment_names(folder: Path) -> list[SegmentName]:
    """The segments in a shard's folder, oldest first."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    found = (_SEGMENT.fullmatch(name) for name in names)
    return sorted(SegmentName(int(match[1], 16), int(match[2], 16)) for match in found if match)


def body_name(body_file: int) -> str:
    """The name of a large body in the bodies folder."""
    return f"{body_file:016x}.body"


def body_numbers(root: Path) -> list[int]:
    """The large bodies that exist, referred to or not."""
    found = (_BODY.fullmatch(name) for name in os.listdir(bodies_folder(root)))
    return [int(match[1], 16) for match in found if match]


def free_body_name(body_file: int, boot: int) -> str:
    """The name of a large body's file while nothing is in it, freed during the boot with that stamp."""
    return f"{body_file:016x}-{boot:016x}.body"


def free_bodies(root: Path) -> list[tuple[int, int]]:
    """The free body files, as (body file, boot stamp)."""
    found = (_FREE_BODY.fullmatch(name) for name in os.listdir(free_folder(root)))
    return [(int(match[1], 16), int(match[2], 16)) for match in found if match]


def new_body_name(body_file: int) -> str:
    """The name of a body's file while it is being made."""
    return f"{body_file:016x}.new"


def new_bodies(root: Path) -> list[str]:
    """The names of body files in the making."""
    return [name for name in os.listdir(free_folder(root)) if name.endswith(".new")]


def free_segment_name() -> str:
    """A new name for a segment's file in the folder of free files."""
    return f"{os.urandom(8).hex()}.segment"


def free_segments(root: Path) -> list[str]:
    """The names of the free segment files."""
    return [name for name in os.listdir(free_folder(root)) if _FREE_SEGMENT.fullmatch(name)]


@functools.cache
def boot_stamp() -> int:
    """A number that is the same until the machine starts again, then another one."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return int(file.read().replace("-", "")[:16], 16)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last through a power failure. Blocks for a disk write; raises `OSError`."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folders(root: Path) -> None:
    """Create what is missing of the spool's folders, for good. Blocks; raises `OSError`."""
    for folder in (root, shards_folder(root), free_folder(root), bodies_folder(root)):
        make_folder(folder)


def make_folder(folder: Path) -> None:
    """Create a folder, and those above it, where missing, for good. Blocks; raises `OSError`."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_folder(folder.parent)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return
    sync_folder(folder.parent)
