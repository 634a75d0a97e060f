"""The listening sockets: options, order, sharing between configurations."""

import errno
import os
import socket
from collections.abc import Callable

import msgspec
import pytest

from mta.config import Config
from mta.errors import ListenError
from mta.supervisor.listeners import Listeners


def config(*addresses: str) -> Config:
    """A configuration that listens on these addresses."""
    listen = [{"address": address} for address in addresses]
    made = {"hostname": "mx", "spool": "", "listen": listen, "domains": {}, "transport": {}, "route": []}
    return msgspec.convert(made, Config)


def same_socket(one: int, other: int) -> bool:
    return os.fstat(one).st_ino == os.fstat(other).st_ino


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError as error:
            return error.errno != errno.EADDRNOTAVAIL
    return True


def test_accepted_sockets_inherit_nodelay() -> None:
    listeners = Listeners(config("127.0.0.1:0"), 1)
    (fd,) = listeners.descriptors(0)
    with socket.socket(fileno=os.dup(fd)) as listener:
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        with socket.create_connection(listener.getsockname()):
            listener.setblocking(True)
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    listeners.close()


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")
def test_both_families_on_one_port(free_port: Callable[[], int]) -> None:
    for _ in range(20):  # a port that is free on 127.0.0.1 need not be so on all addresses
        port = free_port()
        try:
            listeners = Listeners(config(f"0.0.0.0:{port}", f"[::]:{port}"), 2)
        except ListenError:
            continue
        assert listeners.names() == [f"0.0.0.0:{port}", f"[::]:{port}"]
        listeners.close()
        return
    pytest.fail("no port was free")


def test_each_worker_has_a_socket_of_its_own_for_each_address() -> None:
    listeners = Listeners(config("127.0.0.1:0", "127.0.0.2:0"), 3)
    fds = [listeners.descriptors(worker) for worker in range(3)]
    assert len({fd for row in fds for fd in row}) == 6
    names = []
    for row in fds:
        made = [socket.socket(fileno=os.dup(fd)) for fd in row]
        names.append([sock.getsockname()[0] for sock in made])
        for sock in made:
            sock.close()
    assert names == [["127.0.0.1", "127.0.0.2"]] * 3
    listeners.close()


def test_sockets_are_kept_where_the_address_is_the_same(free_port: Callable[[], int]) -> None:
    kept, gone, new = (f"127.0.0.1:{free_port()}" for _ in range(3))
    old = Listeners(config(gone, kept), 2)
    following = Listeners(config(kept, new), 2, old)
    assert same_socket(following.descriptors(1)[0], old.descriptors(1)[1])
    old.close_all_but(following)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(gone.rpartition(":")[2])))
    for address in (kept, new):
        socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))).close()
    following.close()


def test_fewer_workers_take_over_the_sockets_of_those_that_are_no_more() -> None:
    old = Listeners(config("127.0.0.1:0", "127.0.0.2:0"), 3)
    following = Listeners(config("127.0.0.1:0", "127.0.0.2:0"), 2, old)
    assert following.descriptors(0) == old.descriptors(0) + old.descriptors(2)
    assert following.descriptors(1) == old.descriptors(1)
    again = Listeners(config("127.0.0.1:0", "127.0.0.2:0"), 4, following)
    assert [len(again.descriptors(worker)) for worker in range(4)] == [2, 2, 2, 2]
    again.close()


def test_failure_closes_what_was_opened_and_keeps_what_was_there(free_port: Callable[[], int]) -> None:
    good, other = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    old = Listeners(config(good), 1)
    with pytest.raises(ListenError, match=r"cannot listen on 192\.0\.2\.1:25"):
        Listeners(config(good, other, "192.0.2.1:25"), 1, old)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(other.rpartition(":")[2])))
    socket.create_connection(("127.0.0.1", int(good.rpartition(":")[2]))).close()
    old.shut()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(good.rpartition(":")[2])))
    old.close()
