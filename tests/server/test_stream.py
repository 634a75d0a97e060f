"""A client's socket: waits, deadlines, and writes that do not fit."""

import socket

import gevent
import pytest
from gevent import get_hub
from greenlet import greenlet

from mta.server.stream import Clock, DeadlineExceeded, Stream
from tests.support.hub import in_hub


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    stream = Stream(ours, Clock(100.0))
    yield stream, theirs
    stream.close()
    theirs.close()


def test_receive_waits_for_input(pair):
    stream, theirs = pair
    buffer = bytearray(100)
    reader = gevent.spawn(stream.receive_into, buffer, 110.0)
    gevent.sleep(0)
    assert stream.is_parked
    assert stream.deadline_at == 110.0
    theirs.send(b"hello")
    assert reader.get(timeout=10) == 5
    assert buffer[:5] == b"hello"
    assert not stream.is_parked


def test_input_that_comes_while_nobody_reads_does_not_spin_the_loop(pair):
    stream, theirs = pair
    buffer = bytearray(100)
    theirs.send(b"a")
    assert gevent.spawn(stream.receive_into, buffer, 110.0).get(timeout=10) == 1
    theirs.send(b"b")
    gevent.sleep(0.01)
    assert not stream._watcher.active  # stopped at the first call with nobody waiting
    assert gevent.spawn(stream.receive_into, buffer, 110.0).get(timeout=10) == 1


def test_the_end_of_the_stream_is_zero_bytes(pair):
    stream, theirs = pair
    reader = gevent.spawn(stream.receive_into, bytearray(10), 110.0)
    gevent.sleep(0)
    theirs.close()
    assert reader.get(timeout=10) == 0


def test_wake_raises_in_a_reader_and_nowhere_else(pair):
    stream, _ = pair
    stream.wake(DeadlineExceeded())  # nobody waits: nothing happens
    caught = []

    def read() -> None:
        try:
            stream.receive_into(bytearray(10), 110.0)
        except DeadlineExceeded as error:
            caught.append(error)

    in_hub(greenlet(read, get_hub()).switch)
    in_hub(stream.wake, DeadlineExceeded())
    assert len(caught) == 1


def test_a_long_write_goes_on_when_the_client_reads(pair):
    stream, theirs = pair
    data = bytes(range(256)) * 8192
    writer = gevent.spawn(stream.send, data, 160.0)
    received = bytearray()
    with gevent.Timeout(20):
        while len(received) < len(data):
            gevent.sleep(0)
            try:
                received += theirs.recv(65536)
            except BlockingIOError:
                continue
    writer.get(timeout=10)
    assert received == data


def test_a_client_that_never_reads_is_given_up(pair):
    stream, _ = pair
    writer = gevent.spawn(stream.send, bytes(1 << 22), 100.01)
    with pytest.raises(DeadlineExceeded):
        writer.get(timeout=10)
