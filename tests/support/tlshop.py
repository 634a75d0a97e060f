"""A next hop that offers STARTTLS."""

import warnings
from collections.abc import Sequence

from gevent import ssl

from tests.support.certificates import Pair
from tests.support.nexthop import EXTENSIONS, Hop, Polite


def context(pair: Pair, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """For a server with that certificate; `version` is the only one that it speaks."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(pair.certificate, pair.key)
    if version is not None:
        made.set_ciphers("ALL:@SECLEVEL=0")  # for those that are not spoken any more
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            made.minimum_version = made.maximum_version = version
    return made


class Encrypting(Polite):
    """A script: an ordinary server behind a handshake. `replies` may have one to STARTTLS; `behind` follows that.

    `encrypted` counts the connections with TLS, and `extensions` are offered there only.
    """

    def __init__(
        self,
        tls: ssl.SSLContext,
        replies: dict[str, str] | None = None,
        *,
        extensions: Sequence[str] = EXTENSIONS,
        behind: bytes = b"",
    ) -> None:
        super().__init__(replies, extensions=extensions)
        self._tls = tls
        self._behind = behind
        self.encrypted = 0

    def __call__(self, hop: Hop) -> None:
        hop.say("220 hop.example ESMTP")
        self.commands.append(hop.hear())
        hop.say("250-hop.example", "250-PIPELINING", "250-X-PLAIN", "250 STARTTLS")
        line = hop.hear()
        if line != b"STARTTLS":
            hop.unhear(line)
            self.serve(hop)
            return
        self.commands.append(line)
        answer = self.replies.get("STARTTLS", "220 go")
        hop.socket.sendall(f"{answer}\r\n".encode() + self._behind)
        if answer.startswith("220"):
            self.handshake(hop)
        self.serve(hop)

    def handshake(self, hop: Hop) -> None:
        """The handshake; without one, the connection ends."""
        try:
            hop.start_tls(self._tls)
        except OSError as error:
            raise ConnectionError(str(error)) from None
        self.encrypted += 1
