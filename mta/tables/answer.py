"""What a server may say, and how several values become one."""

from collections.abc import Sequence

from mta.errors import TableDown

VALUES = 1000
VALUE_BYTES = 65536
SHOWN_CHARACTERS = 300


def joined(values: Sequence[bytes]) -> bytes | None:
    """Several values as one, with commas between them, the empty ones left out; None where there is none.

    Raises `TableDown` where they are too many, or too long together: half a list is not the truth.
    """
    if not values:
        return None
    if len(values) > VALUES:
        raise TableDown(f"more than {VALUES} values", of_key=True)
    value = b",".join(filter(None, values))
    if len(value) > VALUE_BYTES:
        raise TableDown(f"a value of more than {VALUE_BYTES} bytes", of_key=True)
    return value


def without_secret(words: object, secret: str) -> str:
    """What a library says of a failure, in one line of bounded length, the secret struck out should it be in there."""
    text = str(words)
    if secret:
        text = text.replace(secret, "***")
    return " ".join(text.split())[:SHOWN_CHARACTERS]
