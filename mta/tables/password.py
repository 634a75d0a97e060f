"""Passwords that stand in files of their own."""

from mta.errors import TableDown

FILE_BYTES = 4096


def read_password(path: str) -> str:
    """The first line of a file; empty without a path. Raises `TableDown`. Blocks on reading the file.

    An empty password is refused: servers take it for "nobody in particular" and let in (RFC 4513 section 5.1.2).
    """
    if not path:
        return ""
    try:
        with open(path, "rb") as file:
            line, _, _ = file.read(FILE_BYTES).partition(b"\n")
        password = line.removesuffix(b"\r").decode()
    except OSError as error:
        raise TableDown(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise TableDown(f"{path}: is no UTF-8") from None
    if not password or "\0" in password:
        raise TableDown(f"{path}: has no password in its first line")
    return password
