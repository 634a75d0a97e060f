"""What another user may do with a file, as far as the modes of files and folders tell.

For a check that root runs, to whom nothing is forbidden, of what workers do as another user. Access control lists are
not read: where there is one, everything is taken for allowed.
"""

import os
import stat
from collections.abc import Collection

READ = 4
EXECUTE = 1  # of a folder: to go into it

_ACL = "system.posix_acl_access"


def refusal(path: str, uid: int, groups: Collection[int], wanted: int) -> str:
    """The file or the folder above it that keeps a user out; empty where none does.

    `groups` are all that the user is in, `wanted` is READ or EXECUTE. Looks at the file system; raises `OSError` where
    something is not there, or not for us.
    """
    real = os.path.realpath(path, strict=True)
    folder = os.path.dirname(real)
    above = [folder]
    while folder != (folder := os.path.dirname(folder)):
        above.append(folder)
    for each in reversed(above):
        if not _allows(each, uid, groups, EXECUTE):
            return each
    return "" if _allows(real, uid, groups, wanted) else path


def _allows(path: str, uid: int, groups: Collection[int], wanted: int) -> bool:
    status = os.stat(path)
    if uid == 0:
        return wanted != EXECUTE or bool(status.st_mode & 0o111)
    if _has_list(path):
        return True
    shift = 6 if status.st_uid == uid else 3 if status.st_gid in groups else 0
    return bool(stat.S_IMODE(status.st_mode) >> shift & wanted)


def _has_list(path: str) -> bool:
    try:
        return _ACL in os.listxattr(path)
    except OSError:  # a file system that has none
        return False
