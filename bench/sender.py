"""The load generator for what smtp-source cannot do: `python bench/sender.py --help`.

One thread, `epoll`, plain sockets; the bytes of all messages are made beforehand. A message costs two writes and two
reads, with BDAT one write. It counts when its last 250 was read. Any other reply than the one that has to come, a
connection that ends, or silence ends the program with exit code 1 and a line on standard error.
"""

import argparse
import gc
import os
import select
import socket
import ssl
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.client_tls import ClientTls, NotAsMeant, client_context
from bench.dialogue import Dialogue, Replies, Step, Style, UnexpectedReply, compose

SILENCE_S = 60.0  # when no server answers in any session
RECEIVE_BYTES = 65_536


class Work:
    """What all sessions of a process share: the messages that are left, and what they need to send them."""

    def __init__(self, address: tuple[str, int], dialogue: Dialogue, messages: int, *, reuse: bool) -> None:
        self.address = address
        self.dialogue = dialogue
        self.reuse = reuse
        self.left = messages  # that no session has begun yet
        self.accepted = 0
        self.epoll = select.epoll()
        self.sessions: dict[int, Session] = {}  # by descriptor
        self.tls = client_context() if any(step.then_tls for step in dialogue.opening) else None

    def run(self, sessions: int) -> None:
        """Send everything over that many sessions at a time.

        Raises `UnexpectedReply`, `NotAsMeant`, `ssl.SSLError` or `OSError` as soon as anything goes wrong. Blocks.
        """
        for _ in range(min(sessions, self.left)):
            Session(self).connect()
        while self.sessions:
            events = self.epoll.poll(SILENCE_S)
            if not events:
                raise TimeoutError(f"no reply in {SILENCE_S:.0f} s, {self.accepted} messages accepted")
            for descriptor, event in events:
                self.sessions[descriptor].ready(event)


class Session:
    """One connection after another, each of them for one message or for many."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._steps: tuple[Step, ...] = ()
        self._next = 0
        self._replies = Replies()
        self._tls: ClientTls | None = None
        self._shaking_hands = False
        self._unsent = b""

    def connect(self) -> None:
        """Begin a connection, and take the first message for it. Does not wait."""
        work = self._work
        work.left -= 1
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.connect_ex(work.address)  # that it failed is seen when the greeting is read
        self._replies = Replies()
        self._tls = None
        work.sessions[self._socket.fileno()] = self
        work.epoll.register(self._socket, select.EPOLLIN)
        self._begin(work.dialogue.opening)

    def ready(self, event: int) -> None:
        """The socket can be read or written."""
        if event & select.EPOLLOUT:
            self._work.epoll.modify(self._socket, select.EPOLLIN)
            self._send(self._unsent)
        if event & ~select.EPOLLOUT:
            data = self._socket.recv(RECEIVE_BYTES)
            if not data:
                raise ConnectionError("the server closed a connection")
            self._received(data)

    def _received(self, data: bytes) -> None:
        """Go on with what came."""
        if self._tls:
            if self._shaking_hands:
                self._shake_hands(data)
                return
            data = self._tls.decrypt(data)  # none where only session tickets came
        if self._replies.feed(data):
            self._done()
        else:
            # More replies must come. A server without TCP_NODELAY keeps them until the first are acknowledged, which
            # the kernel does 40 ms later unless told. Postfix would be measured at that (half its speed with BDAT).
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _begin(self, steps: tuple[Step, ...]) -> None:
        """Start with the first of some steps."""
        self._steps = steps
        self._next = 0
        self._say()

    def _say(self) -> None:
        """Take the next step."""
        step = self._steps[self._next]
        self._replies.expect(step)
        if step.data:
            self._send(self._tls.encrypt(step.data) if self._tls else step.data)

    def _done(self) -> None:
        """A step has its replies: what comes next?"""
        step = self._steps[self._next]
        self._next += 1
        if step.then_tls:
            assert self._work.tls is not None
            self._tls = ClientTls(self._work.tls)
            self._replies.forget_keywords()
            self._shaking_hands = True
            self._shake_hands(b"")
        elif self._next < len(self._steps):
            self._say()
        else:
            self._steps_done()

    def _steps_done(self) -> None:
        """From the opening to a message, to the next message, to the end, to the next connection."""
        work = self._work
        dialogue = work.dialogue
        if self._steps is dialogue.opening:
            self._begin(dialogue.message)
        elif self._steps is dialogue.closing:
            del work.sessions[self._socket.fileno()]
            self._socket.close()  # which also takes it out of the epoll
            if work.left:
                self.connect()
        else:
            work.accepted += 1
            if work.reuse and work.left:
                work.left -= 1
                self._begin(dialogue.message)
            else:
                self._begin(dialogue.closing)

    def _shake_hands(self, data: bytes) -> None:
        """Go on with the handshake; when it is complete, its last part goes out with the next step."""
        assert self._tls is not None
        if self._tls.handshake(data):
            self._shaking_hands = False
            self._say()
        elif outgoing := self._tls.outgoing():
            self._send(outgoing)

    def _send(self, data: bytes) -> None:
        """Send, and keep for later what does not fit."""
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        self._unsent = data[sent:]
        if self._unsent:
            self._work.epoll.modify(self._socket, select.EPOLLIN | select.EPOLLOUT)


def shares(total: int, parts: int) -> list[int]:
    """A number in parts that differ by one at most."""
    return [total // parts + (part < total % parts) for part in range(parts)]


def work(options: argparse.Namespace, messages: int, sessions: int) -> int:
    """One process's part; returns the exit code."""
    host, _, port = options.address.rpartition(":")
    dialogue = compose(options.style, options.bytes, options.recipients, starttls=options.starttls)
    gc.disable()  # nothing is made in circles
    task = Work((host, int(port)), dialogue, messages, reuse=options.reuse)
    try:
        task.run(sessions)
    except (UnexpectedReply, NotAsMeant, ssl.SSLError, OSError) as error:
        print(f"sender.py: {error}", file=sys.stderr)
        return 1
    if task.accepted != messages:
        print(f"sender.py: {task.accepted} of {messages} messages were accepted", file=sys.stderr)
        return 1
    return 0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Send the same message many times, over many sessions at once.")
    parser.add_argument("address", help="HOST:PORT")
    parser.add_argument("--messages", type=int, required=True, help="how many in all")
    parser.add_argument("--sessions", type=int, default=20, help="how many at a time (default: 20)")
    parser.add_argument("--bytes", type=int, default=4096, help="of a message (default: 4096)")
    parser.add_argument("--recipients", type=int, default=1, help="of a message (default: 1)")
    parser.add_argument("--style", type=Style, choices=list(Style), default=Style.DATA, help="(default: data)")
    parser.add_argument("--starttls", action="store_true", help="TLS, with a full handshake in each connection")
    parser.add_argument("--reuse", action="store_true", help="connections take many messages instead of one")
    parser.add_argument("--processes", type=int, default=1, help="share sessions and messages (default: 1)")
    return parser.parse_args()


def main() -> int:
    """Share the work out; returns the exit code, 0 when every message was accepted. Blocks until all is done."""
    options = arguments()
    parts = list(
        zip(shares(options.messages, options.processes), shares(options.sessions, options.processes), strict=True)
    )
    for part in parts[1:]:
        if os.fork() == 0:
            os._exit(work(options, *part))
    code = work(options, *parts[0])
    for _ in parts[1:]:
        code |= os.waitstatus_to_exitcode(os.wait()[1])
    return 1 if code else 0


if __name__ == "__main__":
    sys.exit(main())
