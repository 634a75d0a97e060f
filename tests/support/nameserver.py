"""Name servers on loopback, over UDP and TCP, played by greenlets of the test; dnspython makes their messages."""

import socket
from collections.abc import Callable, Iterable
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import gevent
import gevent.pool
from gevent import socket as gsocket

HOST = "127.0.0.1"


class Asked:
    """A query that arrived from `client`, by `via` ("udp" or "tcp"). `say` answers it, any number of times."""

    def __init__(self, wire: bytes, via: str, client: tuple[str, int], send: Callable[[bytes], object]) -> None:
        self.wire = wire
        self.via = via
        self.client = client
        self.message = dns.message.from_wire(wire)
        self._send = send
        question = self.message.question[0]
        self.name = question.name.to_text(omit_final_dot=True)
        self.rtype = dns.rdatatype.to_text(question.rdtype)
        self.has_edns = self.message.edns == 0

    def say(self, data: bytes | dns.message.Message) -> None:
        """Send a message as it is."""
        wire = data if isinstance(data, bytes) else data.to_wire(max_size=65535)
        self._send(wire if self.via == "udp" else len(wire).to_bytes(2, "big") + wire)

    def say_bytes(self, data: bytes) -> None:
        """Send bytes, without the length that TCP has in front."""
        self._send(data)

    def answer(self, *records: str, **options: Any) -> None:
        """Answer with records (as `respond` takes them)."""
        self.say(respond(self.message, *records, **options))


Script = Callable[[Asked], object]


def respond(
    query: dns.message.Message,
    *records: str,
    authority: Iterable[str] = (),
    rcode: int = dns.rcode.NOERROR,
    flags: int = 0,
    recursion: bool = True,
    has_edns: bool = True,
    extended: int | None = None,
) -> dns.message.Message:
    """A response with records as in a zone file (`name ttl IN type data`), one a string."""
    response = dns.message.make_response(query, recursion_available=recursion)
    if not has_edns:
        response.use_edns(False)
    if extended is not None:
        response.use_edns(0, options=[dns.edns.EDEOption(extended, "words of the server's own")])
    response.set_rcode(rcode)
    response.flags |= flags
    for section, texts in ((response.answer, records), (response.authority, authority)):
        for text in texts:
            name, ttl, rclass, rtype, data = text.split(None, 4)
            section.append(dns.rrset.from_text(name + ".", int(ttl), rclass, rtype, data))
    return response


class NameServer:
    """Runs from entry to exit. Each query is handed to `script`, in a greenlet of its own; `asked` has all of them."""

    def __init__(self, script: Script, *, tcp: bool = True) -> None:
        self.script = script
        self.asked: list[Asked] = []
        self._has_tcp = tcp

    def __enter__(self) -> "NameServer":
        while True:
            self._udp = gsocket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._udp.bind((HOST, 0))
            self.port = self._udp.getsockname()[1]
            self._tcp = gsocket.socket()
            self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                self._tcp.bind((HOST, self.port))
                break
            except OSError:  # somebody has the port for TCP
                self._udp.close()
                self._tcp.close()
        self._greenlets = gevent.pool.Group()
        self._greenlets.spawn(self._serve_udp)
        if self._has_tcp:
            self._tcp.listen()
            self._greenlets.spawn(self._serve_tcp)
        return self

    def __exit__(self, *_: object) -> None:
        self._greenlets.kill()
        self._udp.close()
        self._tcp.close()

    @property
    def address(self) -> str:
        """As the settings name it."""
        return f"{HOST}:{self.port}"

    @property
    def questions(self) -> list[tuple[str, str, str]]:
        """Name, type and way of all that was asked."""
        return [(asked.name, asked.rtype, asked.via) for asked in self.asked]

    def send(self, wire: bytes, client: tuple[str, int]) -> None:
        """Send a packet to anybody."""
        self._udp.sendto(wire, client)

    def _serve_udp(self) -> None:
        while True:
            wire, client = self._udp.recvfrom(65535)
            self._play(wire, "udp", client, lambda data, client=client: self._udp.sendto(data, client))

    def _serve_tcp(self) -> None:
        while True:
            sock, client = self._tcp.accept()
            self._greenlets.spawn(self._converse, sock, client)

    def _converse(self, sock: gsocket.socket, client: tuple[str, int]) -> None:
        with sock:
            size = sock.recv(2, socket.MSG_WAITALL)
            if len(size) == 2:
                wire = sock.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
                self._play(wire, "tcp", client, sock.sendall).join()

    def _play(self, wire: bytes, via: str, client: tuple[str, int], send: Callable[[bytes], object]) -> Any:
        asked = Asked(wire, via, client, send)
        self.asked.append(asked)
        return self._greenlets.spawn(self.script, asked)
