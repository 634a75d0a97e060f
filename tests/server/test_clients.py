"""Counting connections by client network: several tables on one memory file stand for several workers."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta import clients_file, record_lock
from mta.clients_file import BUCKET_WORDS, HEADER_BYTES
from mta.errors import IpcError
from mta.networks import network_of
from mta.server.clients import COUNT_MAX, ClientTable

A, B = network_of("192.0.2.1", 32, 64), network_of("2001:db8::1", 32, 64)

# A worker in a process of its own: adds what it is told to, says so, and waits to be killed.
WORKER = """
import sys
from mta.server.clients import ClientTable
table = ClientTable(int(sys.argv[1]))
for network in sys.argv[2:]:
    table.add(bytes.fromhex(network))
print("added", flush=True)
sys.stdin.read()
"""

# The same, but what follows the first network comes and goes.
CHURN = """
import sys
from mta.server.clients import ClientTable
table = ClientTable(int(sys.argv[1]))
print("added", flush=True)
first, *others = (bytes.fromhex(network) for network in sys.argv[2:])
table.add(first)
for network in others:
    table.add(network)
    table.remove(network)
print("done", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def fd() -> Iterator[int]:
    fd = clients_file.create()
    yield fd
    os.close(fd)


@pytest.fixture
def worker(fd: int) -> Iterator[Callable[..., ClientTable]]:
    tables = []

    def make(other_fd: int = fd) -> ClientTable:
        tables.append(ClientTable(other_fd))
        return tables[-1]

    yield make
    for table in tables:
        table.close()


def start(fd: int, *networks: bytes, command: str = WORKER) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", command, str(fd), *(network.hex() for network in networks)]
    process = subprocess.Popen(
        arguments, pass_fds=[fd], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="ascii"
    )
    assert process.stdout
    assert process.stdout.readline() == "added\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_all_workers_count_together(worker: Callable[..., ClientTable]) -> None:
    one, two = worker(), worker()
    assert one.add(A) == 1
    assert two.add(A) == 2
    assert one.add(A) == 3
    assert one.add(B) == 1
    two.remove(A)
    assert (one.count(A), two.count(A), two.count(B)) == (2, 2, 1)
    one.remove(A)
    one.remove(A)
    assert (one.count(A), two.count(A)) == (0, 0)


def test_what_is_left_after_much_coming_and_going(fd: int, worker: Callable[..., ClientTable]) -> None:
    """Three processes at once, one of them new when the others are at it."""
    networks = [network_of(f"10.0.{number >> 8}.{number & 255}", 32, 64) for number in range(1000)]
    churn = [network for network in networks for _ in range(2)]
    processes = [start(fd, A, *churn, command=CHURN) for _ in range(2)]
    one = worker()
    for network in churn:
        assert one.add(network) >= 1
        one.remove(network)
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "done\n"
    assert {one.count(network) for network in networks} == {0}
    assert one.count(A) == 2
    for process in processes:
        kill(process)


def test_a_worker_removes_only_what_it_added(worker: Callable[..., ClientTable]) -> None:
    one, two = worker(), worker()
    one.add(A)
    with pytest.raises(KeyError):
        two.remove(A)
    one.remove(A)
    with pytest.raises(KeyError):
        one.remove(A)
    assert two.add(A) == 1


def test_the_prefix_is_part_of_a_network(worker: Callable[..., ClientTable]) -> None:
    """Listeners may have different prefixes; 10.0.0.0/8 and 10.0.0.0/32 are two networks."""
    one = worker()
    assert one.add(network_of("10.0.0.0", 8, 64)) == 1
    assert one.add(network_of("10.0.0.0", 32, 64)) == 1


def test_who_comes_later_sees_what_is_there(fd: int, worker: Callable[..., ClientTable]) -> None:
    one = ClientTable(fd)
    one.add(A)
    two = worker()
    assert two.count(A) == 1
    assert two.add(A) == 2
    assert one.count(A) == 2  # it had looked around before
    one.close()
    assert two.add(A) == 2
    assert two._others == []


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["add", "remove", "count", "restart"]), st.integers(0, 7)),
        max_size=60,
    ),
    st.sampled_from([1, 2, 4096]),
)
def test_as_a_dictionary_would_count(steps: list[tuple[int, str, int]], buckets: int) -> None:
    """8 networks fit into any bucket, so nothing fails open, and nothing collides."""
    fd = clients_file.create(regions=8, buckets=buckets)
    workers = [ClientTable(fd) for _ in range(4)]
    model: list[Counter[bytes]] = [Counter() for _ in workers]
    try:
        for number, verb, host in steps:
            network = network_of(f"10.0.0.{host}", 32, 64)
            if verb == "add":
                model[number][network] += 1
                assert workers[number].add(network) == sum(counts[network] for counts in model)
            elif verb == "remove" and model[number][network]:
                model[number][network] -= 1
                workers[number].remove(network)
            elif verb == "restart":
                model[number].clear()
                workers[number].close()
                workers[number] = ClientTable(fd)
            for table in workers:
                assert table.count(network) == sum(counts[network] for counts in model)
    finally:
        for table in workers:
            table.close()
        os.close(fd)


# ---------------------------------------------------------------------------------------------------------------------
# Death


def test_what_a_killed_worker_had_does_not_count(fd: int, worker: Callable[..., ClientTable]) -> None:
    one = worker()
    first, second = start(fd, A, A, A, B), start(fd, A)
    assert one.add(A) == 5
    assert one.count(B) == 1
    kill(first)
    assert one.count(A) == 2
    assert one.count(B) == 0
    assert one.add(A, 1) == 3  # over what is allowed: exact, too
    kill(second)
    assert one.add(A) == 3


def test_the_dead_count_at_most_while_it_is_allowed(fd: int, worker: Callable[..., ClientTable]) -> None:
    one = worker()
    process = start(fd, A, A, A)
    assert one.add(A, 50) == 4
    kill(process)
    assert one.add(A, 50) in (2, 5)
    assert one.add(A, 5) == 3  # 6 would be over it


def test_the_region_of_a_dead_worker_is_cleared_and_used_again(fd: int, worker: Callable[..., ClientTable]) -> None:
    one = worker()
    process = start(fd, A, A)
    assert one.count(A) == 2
    kill(process)
    two = worker()
    assert two._region == 1
    assert one.count(A) == two.count(A) == 0
    assert two.add(A) == 1
    assert one.add(A) == 2


def test_a_region_that_is_taken_but_not_cleared_yet_does_not_count(worker: Callable[..., ClientTable]) -> None:
    """The successor of a dead worker between its two locks."""
    one, two = worker(), worker()
    two.add(A)
    assert one.count(A) == 1
    record_lock.unlock(two._fd, clients_file.REGIONS + 1, 1)
    assert one.count(A) == 0
    assert worker()._region == 2


# ---------------------------------------------------------------------------------------------------------------------
# Bounds


def test_a_network_without_a_place_is_counted_by_its_worker_alone() -> None:
    fd = clients_file.create(regions=2, buckets=1)
    one, two = ClientTable(fd), ClientTable(fd)
    networks = [network_of(f"10.0.0.{number}", 32, 64) for number in range(BUCKET_WORDS + 1)]
    for network in networks:
        one.add(network)
        assert one.add(network) == 2
    assert [two.add(network) for network in networks] == [3] * BUCKET_WORDS + [1]
    assert one.add(networks[-1]) == 3
    one.remove(networks[0])
    one.remove(networks[0])  # its place is free, but who is counted without one stays so until it is gone
    for _ in range(3):
        one.remove(networks[-1])
    one.add(networks[-1])
    two.remove(networks[-1])
    assert two.add(networks[-1]) == 2
    assert two.count(networks[0]) == 1
    for table in (one, two):
        table.close()
    os.close(fd)


def test_a_worker_without_a_region_counts_for_itself_and_sees_the_others() -> None:
    fd = clients_file.create(regions=1, buckets=1)
    one, two = ClientTable(fd), ClientTable(fd)
    assert one.is_shared
    assert not two.is_shared
    assert one.add(A) == 1
    assert two.add(A) == 2
    assert one.add(A) == 2
    two.remove(A)
    assert two.count(A) == 2
    two.close()
    assert one.count(A) == 2
    one.close()
    os.close(fd)


def test_workers_without_memory_count_for_themselves(fd: int) -> None:
    """What a region's clearing runs into when there is no memory left."""
    limited = subprocess.run(
        [
            sys.executable,
            "-c",
            "import resource, signal, sys\n"
            "from mta.server.clients import ClientTable\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))\n"
            "table = ClientTable(int(sys.argv[1]))\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))\n"
            "print(table.is_shared, table.add(b'network'), table.add(b'network'))\n"
            "print(ClientTable(int(sys.argv[1]))._region)\n"  # nobody has kept it
            "table.close()\n",
            str(fd),
        ],
        pass_fds=[fd],
        check=True,
        capture_output=True,
        text=True,
    )
    assert limited.stdout == "False 1 2\n0\n"


def test_a_count_does_not_reach_into_its_mark(worker: Callable[..., ClientTable]) -> None:
    one, two = worker(), worker()
    one.add(A)
    one._own[A].count = COUNT_MAX
    one.add(A)
    assert two.count(A) == COUNT_MAX
    one.remove(A)
    one._own[A].count = 1
    one.remove(A)
    assert two.count(A) == 0


def test_bytes_that_look_like_a_mark_are_none() -> None:
    """The mark of A across two words of another worker, in front of the real one."""
    fd = clients_file.create(regions=2, buckets=1)
    one, two = ClientTable(fd), ClientTable(fd)
    mark, _ = one._place(A)
    fakes = b"\1" + mark + b"\2\3" + b"\1\2\3\4\5" + mark + bytes(6)
    start = clients_file.layout(fd).offset(1)
    os.pwrite(fd, fakes, start)
    assert one.count(A) == 0
    assert two.add(A) == 1
    assert one.count(A) == 1
    one.close()
    two.close()
    os.close(fd)


@pytest.mark.parametrize("regions", [4, 512])
def test_unused_regions_are_not_looked_at(regions: int) -> None:
    fd = clients_file.create(regions=regions, buckets=1)
    tables = [ClientTable(fd) for _ in range(3)]
    assert tables[0].add(A) == 1
    assert [region for region, _ in tables[0]._others] == [1, 2]
    for table in tables:
        table.close()
    os.close(fd)


def test_places_depend_on_the_seed_of_the_file(fd: int, worker: Callable[..., ClientTable]) -> None:
    other_fd = clients_file.create()
    here, there = worker(), worker(other_fd)
    assert clients_file.layout(fd).seed != clients_file.layout(other_fd).seed
    networks = [network_of(f"10.0.0.{number}", 32, 64) for number in range(64)]
    assert [here._place(network) for network in networks] != [there._place(network) for network in networks]
    os.close(other_fd)


@pytest.mark.parametrize("content", [b"", b"mta-cln0" + bytes(4096), b"mta-cln"])
def test_a_file_of_another_version(content: bytes) -> None:
    fd = os.memfd_create("other")
    os.write(fd, content)
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(IpcError, match="another version"):
        ClientTable(fd)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    os.close(fd)


def test_the_file_cannot_be_cut(fd: int) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(fd, HEADER_BYTES)
