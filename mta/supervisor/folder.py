"""The spool's folder as the supervisor prepares it: layout, owner, lock."""

import fcntl
import os
import pwd
from pathlib import Path

import msgspec

from mta.errors import ConfigError, SpoolError, SpoolTaken

PARTS = ("shards", "free", "bodies", "qmgr")
MODE = 0o700


class Account(msgspec.Struct, frozen=True):
    """Who the children run as: numeric user, group and further groups."""

    uid: int
    gid: int
    groups: tuple[int, ...]


def account(user: str) -> Account | None:
    """The account that `user` names; `None` when children stay who we are: no user named, or we are not root.

    Raises `ConfigError` when there is no such user. Reads the user database, which may block.
    """
    if not user or os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ConfigError([f"user: there is no user {user!r} on this machine"]) from None
    return Account(entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(user, entry.pw_gid)))


def prepare(root: Path, owner: Account | None) -> None:
    """Make the folders of the spool, mode 0700, owned by `owner`; what is there already stays.

    Synced, so that a crash of the machine cannot take away a folder with accepted mail in it. Raises `SpoolError`.
    """
    try:
        root.mkdir(mode=MODE, parents=True, exist_ok=True)
        for folder in (root, *(root / part for part in PARTS)):
            folder.mkdir(mode=MODE, exist_ok=True)
            folder.chmod(MODE)
            if owner is not None:
                os.chown(folder, owner.uid, owner.gid)
        for folder in (root, root.parent):
            _sync(folder)
    except OSError as error:
        raise SpoolError(f"spool {root}: {error.strerror or error} ({error.filename or root})") from None


def lock(root: Path) -> int:
    """Take the spool for this supervisor; returns the descriptor that holds the lock (not inherited by children).

    Raises `SpoolTaken` when another supervisor has it, `SpoolError` when the lock cannot be opened.
    """
    path = root / "lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SpoolError(f"spool {root}: {error.strerror} ({path})") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise SpoolTaken(f"spool {root}: in use by another mta, process {holder}") from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    return fd


def give(path: str, owner: Account | None) -> None:
    """Make a file the children's, so that they can open it as well. Raises `ConfigError`."""
    if owner is None:
        return
    try:
        os.chown(path, owner.uid, owner.gid)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be given to the user that workers run as: {error.strerror}"]) from None


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def is_locked(root: str) -> bool:
    """Whether some supervisor has the spool. Looks without trying, which could turn away one that is starting."""
    try:
        number = os.stat(os.path.join(root, "lock")).st_ino
        locks = Path("/proc/locks").read_text()
    except OSError:
        return False
    lines = [line.split() for line in locks.splitlines()]
    return any("FLOCK" in fields and any(field.endswith(f":{number}") for field in fields) for fields in lines)
