"""More clients than there is room for: each is answered or waits, nothing dies, and all is well when they have gone."""

import resource
import signal
import socket
from contextlib import ExitStack
from os import kill, listdir
from pathlib import Path

from tests.support.load import RawClient
from tests.support.server import Server

GREETING = b"220 mx.example.org ESMTP\r\n"


def connect(server: Server, stack: ExitStack) -> socket.socket:
    """A client that says nothing."""
    client = socket.create_connection(server.address, 20)
    stack.callback(client.close)
    return client


def said(client: socket.socket) -> bytes:
    """The first line that a client is told."""
    with client.makefile("rb") as file:
        return file.readline()


def greets(server: Server) -> bool:
    """Whether another client is taken."""
    with ExitStack() as stack:
        return said(connect(server, stack)) == GREETING


def send(server: Server) -> None:
    """One message, which has to be taken."""
    client = RawClient(server.address)
    client.send("s@example.com", ["user@example.org"], b"Subject: x\r\n\r\n")
    client.close()


def test_a_worker_without_descriptors_serves_those_it_has_and_comes_back(tmp_path: Path) -> None:
    with Server(tmp_path, {"processes": {"server": 1}}) as server:
        (worker,) = server.children("server")
        room = len(listdir(f"/proc/{worker}/fd")) + 5
        most = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (room, most[1]))
        with ExitStack() as stack:
            clients = [connect(server, stack) for _ in range(20)]
            assert said(clients[0]) == GREETING
            server.until(lambda: "cannot accept clients for now" in server.log.read_text(), "EMFILE")
            clients[0].sendall(b"NOOP\r\n")
            assert said(clients[0]).startswith(b"250 ")
            for client in clients[:15]:
                client.close()
            assert said(clients[19]) == GREETING, "who waited in the backlog is served"
        server.until(lambda: greets(server), "a free descriptor")
        assert server.children("server") == [worker]
        resource.prlimit(worker, resource.RLIMIT_NOFILE, most)
        send(server)


def test_a_connection_too_many_is_told_so(tmp_path: Path) -> None:
    with Server(tmp_path, {"processes": {"server": 1}, "limits": {"connections": 5}}) as server:
        with ExitStack() as stack:
            for _ in range(5):
                assert said(connect(server, stack)) == GREETING
            assert said(connect(server, stack)).startswith(b"421 4.3.2 Too many connections")
        server.until(lambda: greets(server), "room")


def test_a_network_is_counted_over_all_workers(tmp_path: Path) -> None:
    settings = {"processes": {"server": 2}, "limits": {"client_connections": 4, "client_exempt": []}}
    with Server(tmp_path, settings) as server:
        with ExitStack() as stack:
            firsts = [said(connect(server, stack)) for _ in range(12)]
            assert firsts.count(GREETING) == 4
            assert sum(first.startswith(b"421 4.7.0 Too many connections from your network") for first in firsts) == 8
            for worker in server.children("server"):
                kill(worker, signal.SIGKILL)
            server.until(lambda: len(server.children("server")) == 2, "new workers")
            server.until(lambda: greets(server), "the dead are not counted")
        send(server)
