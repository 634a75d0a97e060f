"""What a server may say, how long a value may be, and how several become one."""

from collections.abc import Sequence

from mta.errors import TableDown

VALUES = 1000
VALUE_BYTES = 65536
TOO_LONG = f"a value of more than {VALUE_BYTES} bytes"
SHOWN_CHARACTERS = 300


def joined(values: Sequence[bytes]) -> bytes | None:
    """Several values as one, with commas between them, the empty ones left out; None where there is none.

    Raises `TableDown` where they are too many, or too long together: half a list is not the truth.
    """
    if not values:
        return None
    if len(values) > VALUES:
        raise TableDown(f"more than {VALUES} values", of_key=True)
    return checked(b",".join(filter(None, values)))


def checked(value: bytes) -> bytes:
    """A value as it is; raises `TableDown` where it is longer than any is believed to be."""
    if len(value) > VALUE_BYTES:
        raise TableDown(TOO_LONG, of_key=True)
    return value


def without_secret(words: object, secret: str) -> str:
    """What a library says of a failure, in one line of bounded length, the secret struck out should it be in there."""
    text = str(words)
    if secret:
        text = text.replace(secret, "***")
    return " ".join(text.split())[:SHOWN_CHARACTERS]
