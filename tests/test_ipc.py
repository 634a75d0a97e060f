"""Packets between processes: what is sent arrives, rubbish is named, the socket works under a long path."""

import os
import socket
from pathlib import Path

import pytest

from mta import ipc
from mta.errors import IpcError

MESSAGES: list[ipc.Message] = [
    ipc.Hello("deliver", 42),
    ipc.Jobs([ipc.Job(7, 1 << 60, 1 << 60, "store", (0, 3), 1)]),
    ipc.Outcomes([ipc.Outcome(7), ipc.Outcome(8, (ipc.Result(0, 4, "4.4.1", "no answer"),), True)]),
    ipc.Request("list", {"limit": 5}),
    ipc.Reply([{"queue_id": "abc", "size_bytes": 5}], "", True),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_round_trip(message: ipc.Message) -> None:
    assert ipc.decode(ipc.encode(message)) == message


@pytest.mark.parametrize("packet", [b"", b"\x00", b"\xff" * 9, ipc.encode(MESSAGES[0])[:-1], b"\x91\xa5other"])
def test_rubbish_is_an_ipc_error(packet: bytes) -> None:
    with pytest.raises(IpcError):
        ipc.decode(packet)


def test_largest_jobs_fit_in_a_packet() -> None:
    everyone = tuple(range(100_000, 100_000 + ipc.RECIPIENTS_PER_JOB))
    jobs = [ipc.Job(1 << 62, 1 << 62, 1 << 62, "t" * 60, everyone, 1000) for _ in range(ipc.JOBS_PER_PACKET + 1)]
    packets = ipc.batches(jobs)
    assert [job for packet in packets for job in packet.jobs] == jobs
    assert all(len(ipc.encode(packet)) <= ipc.PACKET_BYTES for packet in packets)


def test_listen_and_connect_under_a_long_path(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100) / ("y" * 100)
    folder.mkdir(parents=True)
    for _ in range(2):  # the second listener takes the place of the first
        listener = ipc.listen(str(folder))
        assert os.stat(folder / "socket").st_mode & 0o777 == 0o600
        with listener, ipc.connect(str(folder), ipc.Hello("control", 1)) as client:
            server, _ = listener.accept()
            with server:
                assert server.type == socket.SOCK_SEQPACKET
                assert ipc.decode(server.recv(ipc.PACKET_BYTES)) == ipc.Hello("control", 1)
                client.send(b"a")
                client.send(b"b")
                assert server.recv(100) == b"a"  # packets stay apart


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(IpcError, match="does not answer"):
        ipc.connect(str(tmp_path), ipc.Hello("control", 1))
    ipc.listen(str(tmp_path)).close()
    with pytest.raises(IpcError, match="ECONNREFUSED"):
        ipc.connect(str(tmp_path), ipc.Hello("control", 1))
