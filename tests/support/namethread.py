"""A name server in a thread, for tests that wait for something else; dnspython makes its messages."""

import socket
import threading
from collections.abc import Mapping

import dns.message
import dns.rdatatype
from dns.rcode import NOERROR, NXDOMAIN, Rcode

from tests.support.nameserver import respond
from tests.support.server import HOST


class NameThread:
    """Answers from entry to exit, over UDP. `asked` has all questions, as `example.org MX`.

    `records` has by question what there is, as in a zone file (`10 mx.example.org.`), or a code in its place.
    """

    def __init__(self, records: Mapping[str, str | Rcode]) -> None:
        self._records = records
        self._names = {question.partition(" ")[0] for question in records}
        self.asked: list[str] = []

    def __enter__(self) -> "NameThread":
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((HOST, 0))
        self.address = f"{HOST}:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            wire, client = self._socket.recvfrom(4096)
            if not wire:
                return
            query = dns.message.from_wire(wire)
            self._socket.sendto(self._answer(query).to_wire(), client)

    def _answer(self, query: dns.message.Message) -> dns.message.Message:
        (asked,) = query.question
        name, kind = asked.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(asked.rdtype)
        self.asked.append(f"{name} {kind}")
        found = self._records.get(f"{name} {kind}")
        if isinstance(found, str):
            return respond(query, f"{name} 60 IN {kind} {found}")
        return respond(query, rcode=found or (NOERROR if name in self._names else NXDOMAIN))
