"""SMTP smuggling: what some servers take for the end of a message, and a server that takes all of it."""

import re

from tests.support.nexthop import Hop

# Everything that some server takes for the end of a message, but CR LF . CR LF itself.
FALSE_ENDS = [
    *(b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\n.\r", b"\r.\n"),
    *(b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\0\n.\r\n", b"\r\n.\r\0\n", b"\0\n\0.\0\n", b"\r\n\0\0.\n"),
]
SMUGGLED = b"MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nsmuggled"

# A line end, and the end of a message, to whoever takes any of CR, LF and CR LF for the former, and drops NULs.
LENIENT_LINE_END = re.compile(rb"\0*(?:\r\0*\n|\n|\r)")
LENIENT_END = re.compile(rb"(?:\A|[\r\n])\0*\.\0*(?:\r\0*\n|\n|\r)")


class Lenient:
    """A script: the server that is to be feared. `messages` has the content of each it found."""

    def __init__(self, *extensions: str) -> None:
        self.messages: list[bytes] = []
        self._extensions = extensions
        self._buffer = b""

    def __call__(self, hop: Hop) -> None:
        """Serve one connection, the only one at that time."""
        self._buffer = b""
        hop.say("220 lenient")
        while line := self._hear(hop, LENIENT_LINE_END):
            verb = line.split()[0].upper() if line.strip(b"\0 ") else b""
            if verb == b"EHLO" or verb == b"LHLO":
                hop.say("250-lenient", *(f"250-{text}" for text in self._extensions), "250 HELP")
            elif verb == b"DATA":
                hop.say("354 go")
                self.messages.append(self._hear(hop, LENIENT_END) or b"")
                hop.say("250 ok")
            elif verb == b"QUIT":
                return
            elif verb:
                hop.say("250 ok")

    def _hear(self, hop: Hop, end: re.Pattern[bytes]) -> bytes | None:
        """What comes up to an end, and that; None when the connection ends before."""
        while not (found := end.search(self._buffer)):
            data = hop.socket.recv(65536)
            if not data:
                return None
            self._buffer += data
        text, self._buffer = self._buffer[: found.end()], self._buffer[found.end() :]
        return text
