"""Postfix's socketmap protocol: netstrings `map key`, answered with a netstring `OK value`, `NOTFOUND `, or a failure.

As Postfix's socketmap_table(5) has it: TEMP, TIMEOUT and PERM each mean that nobody knows. Anything else is garbage,
and means the same.
"""

from mta.errors import TableDown
from mta.tables.exchange import BadReply, Exchange

REPLY_BYTES = 100_000
"""Longest reply, as in Postfix."""

SHOWN_CHARACTERS = 200  # of what a server says about its failure

_DIGITS = len(str(REPLY_BYTES))


def netstring(data: bytes) -> bytes:
    """Length, colon, data, comma."""
    return b"%d:%b," % (len(data), data)


class NetstringReader:
    """Puts one netstring together, of `REPLY_BYTES` at most."""

    is_last = False

    def __init__(self) -> None:
        self.data = b""
        self._buffer = bytearray()
        self._length = -1  # of the data, once it is known

    def feed(self, data: bytes) -> bool:
        """Take what came; whether the netstring is whole, then in `data`. Raises `BadReply`."""
        self._buffer += data
        if self._length < 0 and not self._read_length():
            return False
        buffer = self._buffer
        end = self._length
        if len(buffer) <= end:
            return False
        if buffer[end] != 0x2C:
            raise BadReply("a netstring that does not end in a comma")
        if len(buffer) > end + 1:
            raise BadReply("more than one reply")
        self.data = bytes(buffer[:end])
        return True

    def _read_length(self) -> bool:
        digits, colon, rest = self._buffer.partition(b":")
        if not digits.isdigit() and (digits or colon):
            raise BadReply("no netstring")
        if len(digits) > _DIGITS or (len(digits) > 1 and digits.startswith(b"0")) or int(digits or b"0") > REPLY_BYTES:
            raise BadReply(f"a netstring of a strange length, or of more than {REPLY_BYTES} bytes")
        if not colon:
            return False
        self._length = int(digits)
        self._buffer = rest
        return True


class SocketmapTable:
    """One map of a socketmap server."""

    def __init__(self, exchange: Exchange, name: str) -> None:
        self._exchange = exchange
        self._name = name.encode()

    def get(self, key: bytes) -> bytes | None:
        """The value, or None; raises `TableDown`. Switches greenlets, for the time that `exchange` allows."""
        reader = self._exchange.ask(netstring(self._name + b" " + key), NetstringReader)
        status, _, text = reader.data.partition(b" ")
        if status == b"OK":
            return bytes(text)
        if status == b"NOTFOUND":
            return None
        if status in (b"TEMP", b"TIMEOUT", b"PERM"):
            words = f"{status.decode()} {text.decode('utf-8', 'replace')[:SHOWN_CHARACTERS]}".rstrip()
            raise TableDown(words, of_key=status != b"TIMEOUT")
        raise TableDown("a reply that is none of OK, NOTFOUND, TEMP, TIMEOUT and PERM", of_key=True)
