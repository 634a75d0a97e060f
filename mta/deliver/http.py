"""The transport that posts messages to an HTTP server (`http_request` has what is sent, `http_connection` how).

Up to `concurrency` native threads post, each on a connection of its own, which is kept for `IDLE_S` between requests.
A kept connection may turn out to be closed. Where not a byte of a reply came on it, the request is sent once more on a
fresh one; a server that took the first gets the message twice, and knows it by its queue id.
"""

import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from time import monotonic, time

from gevent.hub import get_hub

from mta.config import Transport as Settings
from mta.deliver.attempt import Work
from mta.deliver.framing import Chunk
from mta.deliver.http_connection import HttpConnection, LostConnection, Reply
from mta.deliver.http_request import Request, form_request, message_requests, retry_after_s, verdict
from mta.deliver.messages import Message, Messages, SpoolMessages
from mta.deliver.peer import ConnectError
from mta.deliver.threads import Ended, Threads
from mta.endpoint import Url, parse_url
from mta.errors import ConfigError, SpoolError
from mta.ipc import DEFERRED, Result
from mta.smtp.client_reply import printable
from mta.spool import queueid

IDLE_S = 5.0  # many servers close an idle connection after 5 s
SEGMENTS_OPEN = 1  # for each thread


class Destination:
    """Where to post to and how; shared by the threads, never changed."""

    def __init__(self, settings: Settings) -> None:
        """Reads the files with the key and the authorities. Blocks; raises `ConfigError`."""
        try:
            self.url: Url = parse_url(settings.url)
        except ValueError as error:
            raise ConfigError([f"transport url {settings.url!r}: {error}"]) from None
        self.settings = settings
        self.key = _key(settings.key_file) if settings.key_file else b""
        self.context = _context(settings.tls_ca) if self.url.is_tls else None


class Poster:
    """Posts one work at a time. One native thread's own, except for `tidy` and `stop`."""

    def __init__(self, destination: Destination, messages: Messages) -> None:
        self._destination = destination
        self._messages = messages
        self._lock = Lock()  # around the idle connection
        self._idle: HttpConnection | None = None
        self._idle_since_at = 0.0  # monotonic

    def deliver(self, works: list[Work]) -> list[Ended]:
        """Post each work."""
        return [self._deliver(work) for work in works]

    def stop(self) -> None:
        """Close the idle connection; a request on its way is done again by another worker."""
        self.tidy(idle_s=0.0)

    def tidy(self, idle_s: float = IDLE_S) -> None:
        """Close a connection that was idle for so long. Called in the hub's thread; does not block."""
        if monotonic() - self._idle_since_at >= idle_s:
            connection = self._take_idle()
            if connection is not None:
                connection.close()

    def _deliver(self, work: Work) -> Ended:
        job = work.job
        results: list[Result] = []
        wait_s = 0.0
        envelope = None
        try:
            message = self._messages.read(job.location)
            envelope = message.envelope
            for group, request in self._requests(work, message):
                try:
                    reply = self._post(request, message)
                except ConnectError as error:
                    done = {result.recipient for result in results}
                    rest = [index for index in job.recipients if index not in done]
                    results += [Result(index, DEFERRED, error.code, printable(str(error).encode())) for index in rest]
                    return Ended(work, envelope, results, None, destination_down=True)
                except LostConnection as error:
                    text = printable(str(error).encode())
                    results += [Result(index, DEFERRED, "4.4.2", text) for index in group]
                    continue
                fate = verdict(reply.status, reply.reason, reply.body)
                results += [Result(index, *fate) for index in group]
                if fate[0] == DEFERRED:
                    wait_s = max(wait_s, retry_after_s(reply.retry_after, time()))
        except SpoolError as error:
            return Ended(work, envelope, results, error)
        return Ended(work, envelope, results, None, retry_after_s=wait_s)

    def _requests(self, work: Work, message: Message) -> Iterator[tuple[list[int], Request]]:
        queue_id = queueid.text(work.job.queue_id)
        if self._destination.settings.format == "multipart":
            indices = list(work.job.recipients)
            return iter([(indices, form_request(queue_id, message.envelope, indices))])
        return message_requests(queue_id, message.envelope, work.job.recipients)

    def _post(self, request: Request, message: Message) -> Reply:
        """Raises `ConnectError`, `LostConnection`, or `SpoolError`: then the server got no more than a part."""
        destination = self._destination
        settings = destination.settings
        signature = request.sign(destination.key, message.chunks(), int(time())) if destination.key else []
        head = request.head(destination.url, message.size_bytes, signature)
        connection = self._take_idle()
        if connection is not None and connection.is_stale():
            connection.close()
            connection = None
        is_reused = connection is not None
        while True:
            if connection is None:
                connection = HttpConnection(destination.url, destination.context, settings.connect_timeout_s)
            try:
                reply = connection.post(_pieces(head, request, message), message.size_bytes, settings.timeout_s)
            except LostConnection as error:
                if not (is_reused and error.untouched):
                    raise
                connection, is_reused = None, False
                continue
            if connection.is_open:
                with self._lock:
                    self._idle, self._idle_since_at = connection, monotonic()
            return reply

    def _take_idle(self) -> HttpConnection | None:
        with self._lock:
            connection, self._idle = self._idle, None
        return connection


def _pieces(head: bytes, request: Request, message: Message) -> Iterator[bytes]:
    """A whole request. The last piece comes when the message is known to be undamaged."""
    counted = Chunk(message.size_bytes)
    held = head + request.before
    for chunk in message.chunks():
        if len(held) + len(chunk) > 16384:
            yield held
            held = counted.feed(chunk)
        else:
            held += counted.feed(chunk)
    yield held + counted.finish() + request.behind


class Http(Threads):
    """The transport: posters, and a timer that closes their idle connections."""

    def __init__(self, posters: list[Poster], relay: str) -> None:
        super().__init__(posters, relay, 1)
        self._posters = posters
        self._tidying = get_hub().loop.timer(IDLE_S, IDLE_S, ref=False)
        self._tidying.start(self._tidy)

    def close(self) -> None:
        """Close the idle connections."""
        self._tidying.stop()
        super().close()

    def _tidy(self) -> None:
        for poster in self._posters:
            poster.tidy()


def _key(file: str) -> bytes:
    try:
        key = Path(file).read_bytes().strip()
    except OSError as error:
        raise ConfigError([f"key_file {file}: {error.strerror}"]) from None
    if not key:
        raise ConfigError([f"key_file {file}: there is no key in it"])
    return key


def _context(file: str) -> ssl.SSLContext:
    """A context on Python's own terms for HTTPS, which get stricter with its versions."""
    try:
        context = ssl.create_default_context(cafile=file or None)
    except OSError as error:
        raise ConfigError([f"tls_ca {file}: {error.strerror or error}"]) from None
    with suppress(NotImplementedError):
        context.set_alpn_protocols(["http/1.1"])
    return context


def make(settings: Settings, spool: Path) -> Http:
    """The transport of kind http. Blocks for reading files; raises `ConfigError`."""
    destination = Destination(settings)
    posters = [Poster(destination, SpoolMessages(spool, SEGMENTS_OPEN)) for _ in range(settings.concurrency)]
    return Http(posters, destination.url.authority)
