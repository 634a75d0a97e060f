"""Where in the file system a recipient's mailbox is.

The configured path is a template: what comes before the first `{domain}` or `{local}` is the root, trusted and
resolved as any path; each component below is made from the recipient, whom nobody trusts. A value becomes part of a
file name like this:

- ASCII letters become lower case; `a-z 0-9 . _ + = -` stand for themselves;
- every other byte, and a dot at the start, becomes `%` and two hexadecimal digits; nothing at all becomes `%`;
- what is longer than `VALUE_CHARACTERS` is cut and ends in `%-` and a hash of the whole.

So a value can be neither `.` nor `..`, holds no slash and no NUL, and two recipients share a folder only when they
differ in the case of ASCII letters alone, or in quotes that do not matter (`"joe"@a` is `joe@a`).
"""

import hashlib
import os
import re
from functools import lru_cache

from mta.deliver.disk import Disk
from mta.errors import ConfigError

VALUE_CHARACTERS = 120  # two values and a separator fit into NAME_MAX (255)
_HASH_CHARACTERS = 40

_PLAIN = re.compile(rb"[a-z0-9_+=-][a-z0-9._+=-]*")
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_ENCODED = [
    chr(code) if chr(code) in "abcdefghijklmnopqrstuvwxyz0123456789._+=-" else f"%{code:02x}" for code in range(256)
]


def encoded(value: bytes) -> str:
    """`value` as part of a file name."""
    value = value.lower()
    if _PLAIN.fullmatch(value) and len(value) <= VALUE_CHARACTERS:
        return value.decode("ascii")
    if not value:
        return "%"
    text = "".join([_ENCODED[byte] for byte in value])
    if text[0] == ".":
        text = "%2e" + text[1:]
    if len(text) > VALUE_CHARACTERS:
        digest = hashlib.sha256(value).hexdigest()[:_HASH_CHARACTERS]
        text = f"{text[: VALUE_CHARACTERS - _HASH_CHARACTERS - 2]}%-{digest}"
    return text


def split(recipient: bytes) -> tuple[bytes, bytes]:
    """Local part without quotes (RFC 5321 section 4.1.2), and domain; empty where there is none, as in `postmaster`."""
    local, at, domain = recipient.rpartition(b"@")
    if not at:
        local, domain = recipient, b""
    if len(local) >= 2 and local.startswith(b'"') and local.endswith(b'"'):
        local = _QUOTED_PAIR.sub(rb"\1", local[1:-1])
    return local, domain


class Layout:
    """A template of mailbox paths."""

    def __init__(self, template: str, default_domain: str) -> None:
        """`template` is absolute; `default_domain` stands where a recipient has no domain. Raises `ConfigError`."""
        components = [component for component in template.split("/") if component]
        fixed = 0
        while fixed < len(components) and "{" not in components[fixed]:
            fixed += 1
        self.root = "/" + "/".join(components[:fixed])
        self._below = components[fixed:]
        self._default_domain = default_domain.encode()
        if any(component in (".", "..") for component in self._below):
            raise ConfigError([f"transport path {template!r}: neither . nor .. may stand behind a placeholder"])
        self.folders = lru_cache(maxsize=4096)(self._folders)

    def _folders(self, recipient: bytes) -> tuple[str, ...]:
        """Names of the folders from the root down to the mailbox; every one is a safe file name."""
        local, domain = split(recipient)
        values = {"{domain}": encoded(domain or self._default_domain), "{local}": encoded(local)}
        return tuple(_filled(component, values) for component in self._below)


def _filled(component: str, values: dict[str, str]) -> str:
    for placeholder, value in values.items():  # a value holds no braces, so the order does not matter
        component = component.replace(placeholder, value)
    return component


class Mailbox:
    """Open folders of one maildir: where files are written, and where they are moved to."""

    __slots__ = ("new_fd", "path", "tmp_fd")

    def __init__(self, path: str, tmp_fd: int, new_fd: int) -> None:
        """Take over two descriptors; `path` is that of the second, from the root on, for people."""
        self.path = path
        self.tmp_fd = tmp_fd
        self.new_fd = new_fd


class Folders:
    """The folders that one batch of messages goes to, opened once each, created where they are absent.

    They are opened one by one from the root down, following no symbolic link, so that nothing below the root leads out
    of it. Not kept beyond a batch: a folder that is moved away by its owner must not go on receiving. One thread's own.
    """

    def __init__(self, disk: Disk, root_fd: int) -> None:
        """`root_fd` stays the caller's."""
        self._disk = disk
        self._root_fd = root_fd
        self._fds: dict[tuple[str, ...], int] = {(): root_fd}
        self._opened: list[int] = []
        self.changed: list[int] = []  # descriptors of folders that got new folders in them: to be synced

    def open(self, names: tuple[str, ...]) -> int:
        """A descriptor of the folder with this path below the root; it stays ours. Blocks; raises `OSError`."""
        fd = self._fds.get(names)
        if fd is None:
            parent_fd = self.open(names[:-1])
            try:
                fd = self.enter(names[-1], parent_fd)
            except FileNotFoundError:
                self._disk.make_folder(names[-1], parent_fd)
                self.changed.append(parent_fd)
                fd = self.enter(names[-1], parent_fd)
            self._fds[names] = fd
        return fd

    def enter(self, name: str, parent_fd: int) -> int:
        """A descriptor, which stays ours, of a folder that exists. Blocks; raises `OSError`."""
        fd = self._disk.open_folder(name, parent_fd)
        self._opened.append(fd)
        return fd

    def count(self) -> int:
        """The number of descriptors that are open."""
        return len(self._opened)

    def close(self) -> None:
        """Close everything opened here, and begin anew."""
        for fd in self._opened:
            self._disk.close(fd)
        self._opened.clear()
        self.changed.clear()
        self._fds = {(): self._root_fd}


class Mailboxes:
    """The maildirs that one batch of messages goes to, among its folders."""

    def __init__(self, disk: Disk, layout: Layout, root_fd: int) -> None:
        """`root_fd` stays the caller's."""
        self._disk = disk
        self._layout = layout
        self._folders = Folders(disk, root_fd)
        self._mailboxes: dict[tuple[str, ...], Mailbox] = {}
        self.changed = self._folders.changed  # descriptors of folders that got new folders in them: to be synced

    def open(self, recipient: bytes) -> Mailbox:
        """The mailbox of `recipient`. Blocks; raises `OSError`."""
        names = self._layout.folders(recipient)
        mailbox = self._mailboxes.get(names)
        if mailbox is None:
            enter = self._folders.enter
            parent_fd = self._folders.open(names)
            try:
                tmp_fd, new_fd = enter("tmp", parent_fd), enter("new", parent_fd)
            except FileNotFoundError:
                for name in ("cur", "new", "tmp"):
                    self._disk.make_folder(name, parent_fd)
                self.changed.append(parent_fd)
                tmp_fd, new_fd = enter("tmp", parent_fd), enter("new", parent_fd)
            mailbox = self._mailboxes[names] = Mailbox("/".join((*names, "new")), tmp_fd, new_fd)
        return mailbox

    def count(self) -> int:
        """The number of descriptors that are open."""
        return self._folders.count()

    def close(self) -> None:
        """Close everything opened here, and begin anew."""
        self._mailboxes.clear()
        self._folders.close()


def open_root(path: str) -> int:
    """Open the root of all mailboxes, made with its parents where it is absent. Blocks; raises `OSError`."""
    os.makedirs(path, mode=0o700, exist_ok=True)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
