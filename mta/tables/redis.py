"""GET and HGET of a Redis server, in its protocol RESP2: requests are arrays of strings, replies begin with a mark."""

from mta.errors import TableDown
from mta.tables.answer import TOO_LONG, VALUE_BYTES
from mta.tables.exchange import BadReply, Exchange

LINE_BYTES = 512  # longest first line of a reply: a length, or what went wrong
SHOWN_CHARACTERS = 200


def request(*words: bytes) -> bytes:
    """A command and its arguments on the wire."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


class StringReader:
    """Puts one reply together: a string (`value`), none (`value` is None), or an error (`error`)."""

    is_last = False

    def __init__(self) -> None:
        self.value: bytes | None = None
        self.error = ""
        self._buffer = bytearray()

    def feed(self, data: bytes) -> bool:
        """Take what came; whether the reply is whole. Raises `BadReply`."""
        self._buffer += data
        line, end, rest = bytes(self._buffer).partition(b"\r\n")
        if len(line) > LINE_BYTES:
            raise BadReply("a reply that is too long")
        if not end:
            return False
        return self._begin(line, rest)

    def _begin(self, line: bytes, rest: bytes) -> bool:
        mark, text = line[:1], line[1:]
        if mark == b"-":
            self.error = text.decode("utf-8", "replace")[:SHOWN_CHARACTERS] or "an error without a text"
            length = -1
        elif mark == b"$" and (text == b"-1" or (text.isdigit() and len(text) <= 9)):
            length = int(text)
        else:
            raise BadReply("no reply to GET")
        if length > VALUE_BYTES:
            raise BadReply(TOO_LONG)
        if length < 0:
            return self._ends(rest, b"")
        if len(rest) < length + 2:
            return False
        self.value = rest[:length]
        return self._ends(rest[length:], b"\r\n")

    def _ends(self, rest: bytes, end: bytes) -> bool:
        if rest != end:
            raise BadReply("something that is no part of a reply")
        return True


class RedisTable:
    """Keys of a Redis server, or of one hash in it."""

    def __init__(self, exchange: Exchange, hash_name: str, prefix: str) -> None:
        self._exchange = exchange
        self._command = (b"HGET", hash_name.encode()) if hash_name else (b"GET",)
        self._prefix = prefix.encode()

    def get(self, key: bytes) -> bytes | None:
        """The value, or None; raises `TableDown`. Switches greenlets, for the time that `exchange` allows."""
        reader: StringReader = self._exchange.ask(request(*self._command, self._prefix + key), StringReader)
        if reader.error:
            raise TableDown(reader.error, of_key=reader.error.startswith("WRONGTYPE"))
        return reader.value
