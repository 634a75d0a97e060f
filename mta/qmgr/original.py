"""The message that a notification is about: what its sender asked for, and what of it goes back.

Reads no more than that needs: a header, or a message of a bounded size.
"""

from collections.abc import Generator, Iterator

from mta import envelope as envelopes
from mta import log
from mta.dsn import returned
from mta.dsn.returned import NOTHING, Returned
from mta.envelope import Envelope
from mta.errors import SpoolError
from mta.qmgr.rows import Recipient, Row
from mta.spool import queueid
from mta.spool.reader import MessageReader


class Original:
    """One message, while it is told of. One that cannot be read has no content, and nobody knows of any wishes."""

    def __init__(self, reader: MessageReader, row: Row, full_bytes: int) -> None:
        """Read the message of a row; messages up to `full_bytes` may go back whole. Blocks."""
        self.row = row
        self.envelope: Envelope | None = None
        self._chunks = _chunks(b"", b"")
        self._full_bytes = full_bytes
        self._whole: Returned | None = None
        self._header: Returned | None = None
        try:
            record, body = reader.message(row.location)
            self.envelope = envelopes.decode(record.envelope)
            self._chunks = _chunks(self.envelope.trace, body)
        except (SpoolError, ValueError) as error:
            self._complain(error)

    def close(self) -> None:
        """Close its file."""
        self._chunks.close()

    @property
    def envid(self) -> bytes:
        """The envelope identifier; empty where there is none."""
        dsn = self.envelope.dsn if self.envelope is not None else None
        return dsn.envid if dsn is not None else b""

    @property
    def smtputf8(self) -> bool:
        """Whether it came with SMTPUTF8."""
        return self.envelope is not None and self.envelope.smtputf8

    @property
    def require_tls(self) -> bool:
        """Whether it came with REQUIRETLS, which what is sent about it has then, too (RFC 8689 section 5)."""
        return self.envelope is not None and self.envelope.require_tls

    def orcpt(self, recipient: Recipient) -> bytes:
        """ORCPT of a recipient, decoded; empty where there is none."""
        dsn = self.envelope.dsn if self.envelope is not None else None
        return dsn.orcpt[recipient.index] if dsn is not None else b""

    def wants(self, recipient: Recipient, keyword: str) -> bool:
        """Whether the sender wants to hear of a failure or a delay (RFC 3461 section 4.1): yes, if nothing was said."""
        notify = self._notify(recipient)
        return not notify or keyword in notify

    def asks_success(self, recipient: Recipient) -> bool:
        """Whether the sender wants to hear of success."""
        return "SUCCESS" in self._notify(recipient)

    def _notify(self, recipient: Recipient) -> list[str]:
        dsn = self.envelope.dsn if self.envelope is not None else None
        words = dsn.notify[recipient.index] if dsn is not None else ""
        return words.split(",") if words else []

    def returned(self) -> Returned:
        """What goes back with a failure: all of it where it is small and RET is not HDRS, or its header. Blocks."""
        return self._read_whole() if self._may_be_whole() else self.header()

    def header(self) -> Returned:
        """Its header: what goes back where nothing has failed (RFC 3461 section 4.3). Blocks."""
        if self._header is None:
            if self._whole is not None:
                self._header = returned.header([self._whole.data])
            else:
                self._header = self._take(whole=False)
        return self._header

    def _may_be_whole(self) -> bool:
        envelope = self.envelope
        if envelope is None or envelope.binary or envelope.bare_newlines or self._header is not None:
            return False
        if envelope.require_tls:  # RFC 8689 section 5: as if RET=HDRS had been said
            return False
        return self.row.size_bytes <= self._full_bytes and (envelope.dsn is None or envelope.dsn.ret != "HDRS")

    def _read_whole(self) -> Returned:
        if self._whole is None:
            self._whole = self._take(whole=True)
        return self._whole

    def _take(self, *, whole: bool) -> Returned:
        try:
            return returned.whole(self._chunks) if whole else returned.header(self._chunks)
        except (SpoolError, OSError) as error:
            self._complain(error)
            return NOTHING

    def _complain(self, error: Exception) -> None:
        log.problem(f"a message cannot be read to return it: {error}", queue=queueid.text(self.row.queue_id))


def _chunks(trace: bytes, body: bytes | Iterator[bytes]) -> Generator[bytes, None, None]:
    yield trace
    if isinstance(body, bytes):
        yield body
    else:
        yield from body
