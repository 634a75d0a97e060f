"""Many SMTP clients that send a command very slowly: `python bench/loris.py HOST:PORT COUNT PERIOD_S`.

Each session is greeted and has said EHLO; then it sends one byte of a NOOP every PERIOD_S seconds, all of them spread
evenly over that time. Prints "holding COUNT" when all are open and the bytes begin to drip. At the end of its standard
input it finishes the command in each, prints "alive N" for those that were answered with 250, and ends.

With `--until-cut S` it drips until the server has closed all of them, or for S seconds, and prints what became of them
as an object of JSON: `cut`, how many were closed; `told`, how many of these got a 421 before; `after_s`, the time from
the answer to EHLO to the end, a number for each that was closed.
"""

import argparse
import json
import select
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.idle import SESSIONS_PER_ADDRESS, TIMEOUT_S, open_session, raise_descriptor_limit, reply

COMMAND = b"NOOP "  # and any number of letters (RFC 5321 section 4.1.1.9)
LETTER = b"x"
TICK_S = 0.01


@dataclass
class Slow:
    """One slow client. `cut_after_s` is set when the server has closed it, `told` when a 421 came before that."""

    socket: socket.socket
    opened_at: float
    sent_bytes: int = 0
    told: bool = False
    cut_after_s: float | None = None

    def send_byte(self) -> None:
        """The next byte of the command."""
        try:
            self.socket.send(COMMAND[self.sent_bytes : self.sent_bytes + 1] or LETTER)
        except OSError:
            return  # the end that caused this is read
        self.sent_bytes += 1

    def heard(self, now: float) -> bool:
        """The server said something; whether it has closed the connection."""
        try:
            data = self.socket.recv(4096)
        except OSError:
            data = b""
        if data:
            self.told |= data.startswith(b"421")
            return False
        self.cut_after_s = now - self.opened_at
        self.socket.close()
        return True

    def alive(self) -> bool:
        """Finish the command; whether it is answered with 250."""
        if self.cut_after_s is not None:
            return False
        try:
            self.socket.settimeout(TIMEOUT_S)
            self.socket.sendall(COMMAND[self.sent_bytes :] + b"\r\n")
            return reply(self.socket).startswith(b"250")
        except OSError:
            return False


class Crowd:
    """All slow clients of a process."""

    def __init__(self, clients: list[Slow], period_s: float) -> None:
        self._clients = clients
        self._period_s = period_s
        self._open = {client.socket.fileno(): client for client in clients}
        self._epoll = select.epoll()
        for client in clients:
            client.socket.setblocking(False)
            self._epoll.register(client.socket, select.EPOLLIN)

    def drip(self, until: float, stop: int | None = None) -> None:
        """Send a byte from each in turn until all are closed, or until that time, or until `stop` can be read."""
        if stop is not None:
            self._epoll.register(stop, select.EPOLLIN)
        count, start, sent = len(self._clients), monotonic(), 0
        while self._open and (now := monotonic()) < until:
            while sent < (now - start) * count / self._period_s:
                client = self._clients[sent % count]
                if client.cut_after_s is None:
                    client.send_byte()
                sent += 1
            for descriptor, _ in self._epoll.poll(TICK_S):
                if descriptor == stop:
                    return
                if self._open[descriptor].heard(monotonic()):
                    del self._open[descriptor]


def gather(address: tuple[str, int], count: int) -> list[Slow]:
    """Open all sessions, one after the other."""
    return [
        Slow(open_session(address, f"127.0.0.{2 + number // SESSIONS_PER_ADDRESS}"), monotonic())
        for number in range(count)
    ]


def main() -> None:
    """Open, drip until told to end or until all are cut, say what became of them."""
    parser = argparse.ArgumentParser(description="Send commands slowly over many SMTP sessions.")
    parser.add_argument("address", help="HOST:PORT")
    parser.add_argument("count", type=int, help="how many sessions")
    parser.add_argument("period_s", type=float, help="seconds between two bytes of a session")
    parser.add_argument("--until-cut", type=float, metavar="S", help="until all are closed, for S seconds at most")
    arguments = parser.parse_args()
    host, _, port = arguments.address.rpartition(":")
    raise_descriptor_limit(arguments.count + 100)
    clients = gather((host, int(port)), arguments.count)
    crowd = Crowd(clients, arguments.period_s)
    print(f"holding {len(clients)}", flush=True)
    if arguments.until_cut is None:
        crowd.drip(float("inf"), stop=sys.stdin.fileno())
        print(f"alive {sum(client.alive() for client in clients)}", flush=True)
        return
    crowd.drip(monotonic() + arguments.until_cut)
    cut = [client for client in clients if client.cut_after_s is not None]
    told = sum(client.told for client in cut)
    print(json.dumps({"cut": len(cut), "told": told, "after_s": [client.cut_after_s for client in cut]}), flush=True)


if __name__ == "__main__":
    main()
