"""One connection to a next hop: a raw socket that does not block, and the conversation (`mta.smtp.client`) on it.

OpenSSL never sees the socket: inside of TLS, what is sent and received passes through a session in memory
(`mta.deliver.tls`), so waiting and deadlines are the same.

The methods that talk switch greenlets while they wait. None waits longer than its deadline: whoever owns the connection
calls `expire` now and then, which shuts an overdue socket down, so that the wait ends by itself. That costs nothing a
message, where a timer for each wait would.

Deadlines: `timeout_s` for each reply, counted anew when a whole reply has come (not when some bytes have, so that
nobody can stretch it); twice that for each once the content has been sent (RFC 5321 section 4.5.3.2.6 has ten minutes
there and five elsewhere); once for the whole handshake of TLS; for sending content `timeout_s` and what
`SLOWEST_BYTES_S` makes of its size.
"""

import errno
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, NamedTuple

import gevent
from gevent.hub import get_hub
from gevent.socket import wait_write
from greenlet import getcurrent

from mta.deliver.framing import Chunk, normalised
from mta.deliver.tls import PLAIN, Policy, Session, TlsFailure
from mta.deliver.turns import Turns
from mta.errors import PeerError
from mta.fastparse import Stuffer
from mta.smtp.client import Client, Step
from mta.smtp.client_mail import Mail
from mta.smtp.client_reply import printable

RECEIVE_BYTES = 4096  # replies are short
SLOWEST_BYTES_S = 1000  # content to a next hop slower than this is not worth waiting for
BACKLOG_PAUSE_S = 0.05  # a unix socket with a full backlog refuses at once instead of letting us wait
READ = 1  # libev's events
READ_OR_WRITE = 3


class Address(NamedTuple):
    """Where to connect to, resolved: the family, and what `socket.connect` takes."""

    family: int
    target: tuple[Any, ...] | str


class Connection:
    """An established connection. Belongs to one greenlet at a time, or to nobody while it is idle."""

    def __init__(self, sock: socket.socket, client: Client, timeout_s: float, turns: Turns) -> None:
        """`sock` is connected and does not block; it becomes this object's own."""
        self.client = client
        self._turns = turns
        self._socket = sock
        self._timeout_s = timeout_s
        self._deadline_at = monotonic() + timeout_s  # monotonic
        self.label = ""  # how people and logs see the next hop
        self._tls: Session | None = None
        self.tls = PLAIN  # what was asked for
        self.tls_failed = False  # TLS began, and did not work
        self.tls_result = "validation-failure"  # in which way, in the words of reports
        self.expired = False  # the deadline has passed
        name = sock.getsockname()
        self.own_ip = name[0] if isinstance(name, tuple) else ""  # the address that it comes from
        self._hub = get_hub()
        self._readable = self._hub.loop.io(sock.fileno(), READ)
        self._movable = self._hub.loop.io(sock.fileno(), READ_OR_WRITE)

    # --- at work

    def greet(self, tls: Policy = PLAIN) -> None:
        """Until the server is ready for mail, or the connection is closed. Waits.

        The client has been made to ask for TLS, or not, as `tls` has it.
        """
        self.tls = tls
        self._converse()
        if self.client.step is not Step.TLS:
            return
        assert tls.context is not None
        try:
            self._secure(Session(tls.context, tls.name), tls)
        except TlsFailure as error:
            self._tls_lost(error)
            return
        self.client.secured()
        replies = self.client.replies
        self._converse()
        if self.client.failure is not None and self.client.replies == replies:
            self.tls_failed = True  # with TLS 1.3 a server may end it behind what is the handshake's end for us

    @property
    def cipher(self) -> str:
        """Version and cipher of TLS, and how the server was verified if it was, for the log; empty without."""
        if self._tls is None:
            return ""
        how = f" {self.tls.level.value}" if self.tls.is_verified else ""
        return f"{self._tls.facts.version} {self._tls.facts.cipher}{how}"

    @property
    def is_verified(self) -> bool:
        """Whether all that is sent can be read by the server that is meant, and by nobody else."""
        return self._tls is not None and self.tls.is_verified

    def _secure(self, session: Session, tls: Policy) -> None:
        """The handshake. Waits; raises `TlsFailure`."""
        self._deadline_at = monotonic() + self._timeout_s
        data = b""
        try:
            while not self._shake(session, data):
                self._wait(self._readable)
                try:
                    data = self._socket.recv(RECEIVE_BYTES)
                except BlockingIOError:
                    data = b""
                    continue
                if not data:
                    raise TlsFailure("timed out" if self.expired else "closed in the handshake")
        except OSError as error:
            raise TlsFailure(error.strerror or repr(error)) from None
        tls.check(session)
        self._tls = session
        self._deadline_at = monotonic() + self._timeout_s

    def _shake(self, session: Session, data: bytes) -> bool:
        """One step of the handshake, its answer sent."""
        try:
            return session.shake(data)
        finally:
            output = session.take_output()  # some KiB: a socket that takes no more is not read by anybody
            if output:
                self._socket.sendall(output)

    def _tls_lost(self, error: TlsFailure) -> None:
        self.tls_failed = True
        self.tls_result = error.result
        self.client.lost("4.7.5", f"TLS failed: {printable(str(error).encode())}")

    def transact(self, mail: Mail, chunks: Callable[[], Iterable[bytes]]) -> None:
        """Send one mail; afterwards the client has its verdicts. Waits.

        `chunks` gives the content, and is called once when the server wants it. What it raises goes to the caller, and
        the connection cannot be used any more; so it is after `ValueError` for content of another size than the mail's.
        """
        client = self.client
        client.begin(mail)
        self._deadline_at = monotonic() + self._timeout_s
        self._converse()
        if client.step is Step.CONTENT:
            self._deadline_at = monotonic() + self._timeout_s + mail.size_bytes / SLOWEST_BYTES_S
            content = normalised(chunks()) if mail.bare_newlines and not mail.binary else chunks()
            self._send_content(content, Chunk(mail.size_bytes) if client.chunked else Stuffer())
        if client.step is Step.READ:
            self._extend()
            self._converse()

    def is_quiet(self) -> bool:
        """Whether the connection can still be used: takes what came since the last mail, without waiting.

        A reply too many would be taken for the answer to the next command, and every other with it.
        """
        self._receive()
        return self.client.step is Step.READY

    def _converse(self) -> None:
        """Send and receive while it is the server's turn."""
        client = self.client
        while client.step is Step.READ:
            output = client.take_output()
            if output:
                self._send((output,))
            if client.step is Step.READ:
                self._wait(self._readable)
                self._receive()
                if self._tls is not None and self._tls.has_output and client.step is Step.READ:
                    self._send(())  # OpenSSL has something to say by itself

    def _send_content(self, pieces: Iterable[bytes], framing: Stuffer | Chunk) -> None:
        """Content and its end, in one write where there is one piece. The last one waits until it is known to be."""
        client = self.client
        head = client.take_output()
        held = b""
        for piece in pieces:
            if not piece:
                continue
            if held:
                self._send((head, held))
                head = b""
                if client.step is not Step.CONTENT:
                    return  # refused or lost in the middle
            held = framing.feed(piece)
        self._send((head, held, framing.finish()))
        if client.step is Step.CONTENT:
            client.content_sent()

    def _send(self, pieces: Sequence[bytes]) -> None:
        """Send all, unless the conversation ends meanwhile. Goes on reading while the server does not.

        A server may stop reading until we read its replies (RFC 2920 section 3.1); and one that refuses early says so
        before it closes.
        """
        client = self.client
        step = client.step
        self._turns.wait()
        if self._tls is not None:
            try:
                pieces = (self._tls.encrypt(pieces),)
            except TlsFailure as error:
                self._tls_lost(error)
                return
        try:
            sent = self._socket.sendmsg(pieces)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._broken(error)
            return
        if sent == sum(map(len, pieces)):
            return
        rest = memoryview(b"".join(pieces))[sent:]
        while rest:
            self._wait(self._movable)
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                self._receive()
                if client.step is not step:
                    return
            except OSError as error:
                self._broken(error)
                return

    def _receive(self) -> None:
        """Take what is there. No data means that nothing more will come."""
        client = self.client
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error.strerror or repr(error))
            return
        if not data:
            self._lost("the connection was closed")
            return
        replies = client.replies
        self._take(data)
        if client.replies != replies and client.step is Step.READ:
            self._extend()

    def _extend(self) -> None:
        """The time for the next reply begins now."""
        self._deadline_at = monotonic() + (2 if self.client.is_all_sent else 1) * self._timeout_s

    def _take(self, data: bytes) -> None:
        """What was received becomes the client's."""
        if self._tls is None:
            self.client.receive(data)
            return
        try:
            text = self._tls.decrypt(data)
        except TlsFailure as error:
            self._tls_lost(error)
            return
        if text:
            self.client.receive(text)
        if self._tls.is_over:
            self._lost("the connection was closed")

    def _broken(self, error: OSError) -> None:
        """Nothing more can be sent; the server may have said why before it closed."""
        client = self.client
        while client.step is not Step.CLOSED:
            try:
                data = self._socket.recv(RECEIVE_BYTES)
            except OSError:
                break
            if not data:
                break
            self._take(data)
        self._lost(error.strerror or repr(error))

    def _lost(self, reason: str) -> None:
        self.client.lost("4.4.2", "timed out" if self.expired else reason)

    def _wait(self, watcher: Any) -> None:
        """Until the socket is ready; `expire` makes it so when the deadline has passed."""
        watcher.start(getcurrent().switch)
        try:
            self._hub.switch()
        finally:
            watcher.stop()

    # --- for its owner

    def overdue(self, now: float) -> bool:
        """Whether the deadline of what it waits for, or of its idleness, is over at `now` (monotonic)."""
        return now >= self._deadline_at

    def expire(self) -> None:
        """End a conversation that is overdue."""
        self.expired = True
        with suppress(OSError):  # the other side may be faster
            self._socket.shutdown(socket.SHUT_RDWR)

    def idle(self, on_event: Callable[["Connection"], None], idle_s: float) -> None:
        """Nobody uses the connection, for `idle_s` at most. `on_event`: the server says something, or closes it."""
        self._deadline_at = monotonic() + idle_s
        self._readable.start(on_event, self)

    def resume(self) -> None:
        """The connection is idle no longer."""
        self._readable.stop()

    def close(self) -> None:
        """Close the socket; QUIT first where the server waits for a command, its answer is not waited for."""
        last = b"QUIT\r\n" if self.client.step is Step.READY else b""
        if self._tls is not None:
            last = self._tls.finish(last)
        if last:
            with suppress(OSError):
                self._socket.send(last)
        for watcher in (self._readable, self._movable):
            watcher.stop()
            watcher.close()
        self._socket.close()


class ConnectError(PeerError):
    """No connection to the destination, or not one that takes mail; `code` is the enhanced code."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def connect(address: Address, timeout_s: float) -> socket.socket:
    """A connected socket that does not block. Waits, at most `timeout_s`; raises `ConnectError`."""
    give_up_at = monotonic() + timeout_s
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        while (number := sock.connect_ex(address.target)) == errno.EAGAIN and monotonic() < give_up_at:
            gevent.sleep(BACKLOG_PAUSE_S)
        if number == errno.EINPROGRESS:
            wait_write(sock.fileno(), timeout=timeout_s, timeout_exc=TimeoutError(errno.ETIMEDOUT, "timed out"))
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
        if address.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        sock.close()
        raise ConnectError("4.4.1", f"cannot connect: {error.strerror or error}") from None
    except BaseException:
        sock.close()
        raise
    return sock
