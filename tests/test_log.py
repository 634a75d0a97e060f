"""The log's lines: order, escapes, formats, and what happens when they cannot be written."""

import errno
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta import log, log_lines, log_sink, log_text
from mta.config import Log
from mta.errors import ConfigError
from mta.tls_facts import TlsFacts

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture(autouse=True)
def _as_at_first() -> Iterator[None]:
    """Each test leaves the log as it is before `setup`."""
    yield
    log.flush()
    if log_lines._state.sink is not None:
        log_lines._state.sink.close()
    log_lines._state = log_lines._State()
    log_lines.text = log_text.kv_text
    for event in log_lines.Event.all:
        event.shape(log_lines._KINDS_KV)


@pytest.fixture(params=["kv", "json"])
def lines(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], list[str]]:
    """Sets the log up in both formats; gives what was written so far."""
    file = tmp_path / "log"
    log.setup("server", 3, Log(file=str(file), format=request.param))

    def read() -> list[str]:
        log.flush()
        return file.read_text().splitlines()

    return read


def fields(line: str) -> dict[str, str]:
    """A line of either format as a dictionary of texts, in order."""
    if line.startswith("{"):
        return {key: str(value) for key, value in json.loads(line).items()}
    found = re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)(?: |$)', line)
    assert " ".join(f"{key}={value}" for key, value in found) == line
    return {key: value[1:-1].replace('\\"', '"') if value.startswith('"') else value for key, value in found}


def test_every_mail_event_has_time_process_event_and_ids_first(lines: Callable[[], list[str]]) -> None:
    log.connect("s1", "192.0.2.1:5", "[::]:25")
    log.queued("q1", "s1", "192.0.2.1:5", b"a@example.org", 2, 4096, 0.01234)
    reply = b"550 5.7.1 no relay [relay]\r\n"
    log.refused("s1", "", "192.0.2.1:5", "RCPT", reply, "relay", b"a@example.org", b"b@example.com")
    log.delivered("q1", "s1", b"b@example.org", "store", "", "2.0.0 delivered", 1.5)
    log.deferred("q1", "s1", b"b@example.org", "out", "127.0.0.1:24", "4.4.1", "no answer", 2)
    log.failed("q1", "s1", b"b@example.org", "out", "127.0.0.1:24", "5.1.1", b"550 5.1.1 who?", 2)
    log.removed("q1")
    log.disconnect("s1", "192.0.2.1:5", "quit", 1, 4, 0.5)
    told = [fields(line) for line in lines()]
    assert [line["event"] for line in told] == [
        *("connect", "queued", "refused", "delivered", "deferred", "failed", "removed", "disconnect"),
    ]
    for line in told:
        assert re.fullmatch(TIME, line["time"])
        keys = list(line)
        assert keys[:3] == ["time", "process", "event"]
        ids = [key for key in keys if key in ("queue", "session")]
        assert ids == keys[3 : 3 + len(ids)]
        assert ids == sorted(ids)
        assert line["process"] == "server/3"
    assert told[1]["size_bytes"] == "4096"
    assert told[1]["seconds"].startswith("0.012")
    assert told[2]["reply"] == "550 5.7.1 no relay [relay]"
    assert told[2]["reason"] == "relay"
    assert told[5]["text"] == "550 5.1.1 who?"


def test_events_of_tls(lines: Callable[[], list[str]]) -> None:
    facts = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256, "mx.example.org", "00ff", True)
    log.tls("s1", "192.0.2.1:5", facts)
    log.tls("s1", "192.0.2.1:5", TlsFacts("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256", 128, resumed=True))
    log.tls_failed("s1", "192.0.2.1:5", "certificate_verify_failed: certificate has expired")
    first, second, failed = [fields(line) for line in lines()]
    assert list(first)[2:] == [
        *("event", "session", "client", "version", "cipher", "server_name", "fingerprint", "verified", "resumed"),
    ]
    assert first["cipher"] == "TLS_AES_256_GCM_SHA384"
    assert (first["server_name"], first["fingerprint"]) == ("mx.example.org", "00ff")
    assert (first["verified"].lower(), first["resumed"].lower()) == ("true", "false")
    assert (second["server_name"], second["verified"].lower(), second["resumed"].lower()) == ("", "false", "true")
    assert failed["event"] == "tls_failed"
    assert failed["reason"] == "certificate_verify_failed: certificate has expired"


def test_a_peer_cannot_forge_a_line_nor_control_a_terminal(lines: Callable[[], list[str]]) -> None:
    evil = b'a"b\r\nevent=queued queue=1 \x1b[2J\x00\x7f\xff\xc2\x9b31m\xe2\x80\xae \\ \xe2\x82\xac'
    log.refused("s", "", "c", "MAIL", evil, "syntax", evil, evil)
    (line,) = lines()
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202e]", line)
    assert fields(line)["event"] == "refused"
    assert "€" in line
    for escape in (r"\r\n", r"\x1b[2J\x00\x7f\xff\x9b31m\u202e"):
        assert escape in fields(line)["sender"]


@given(st.binary(max_size=60))
def test_any_bytes_stay_one_value(data: bytes) -> None:
    for value in (log_text.kv_text(data), log_text.json_text(data)):
        assert value.isprintable()
    assert isinstance(json.loads(log_text.json_text(data)), str)
    assert re.fullmatch(r'"(?:[^"\\]|\\.)*"|[^\s"\\=]+', log_text.kv_text(data))


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_different_bytes_are_shown_differently(one: bytes, other: bytes) -> None:
    assert (log_text.kv_text(one) == log_text.kv_text(other)) == (one == other)
    assert (log_text.json_text(one) == log_text.json_text(other)) == (one == other)


def test_long_texts_are_cut(lines: Callable[[], list[str]]) -> None:
    log.removed("q")
    log.refused("s", "", "c", "DATA", b"x" * 100_000, "too-big", b"\xff" * 100_000, b"")
    log.problem("died", trace="line\n" * 1000 + "the end")
    log.problem("died", trace="line\n" * 10000)
    told = lines()
    assert len(told[1]) < 3 * 4 * log_text.TEXT_CHARACTERS
    assert "the end" in told[2]
    assert len(told[3]) < 2 * log_lines.RARE_CHARACTERS


def test_rare_events_take_any_fields(lines: Callable[[], list[str]]) -> None:
    log.started(version="1", pid=7, is_new=True)
    log.problem("no luck", reason=OSError(2, "gone"), after_s=1.0)
    log.corrupt("/spool/1", 4096, "bad checksum")
    log.note("signal", name="HUP")
    log.stopped(exit=0)
    told = [fields(line) for line in lines()]
    assert [line["event"] for line in told] == ["started", "problem", "corrupt", "signal", "stopped"]
    assert told[0]["pid"] == "7"
    assert told[1]["text"] == "no luck"
    assert told[2]["offset"] == "4096"


def test_libraries_speak_through_it(lines: Callable[[], list[str]]) -> None:
    try:
        raise ValueError("oh\nno")
    except ValueError:
        logging.getLogger("some.library").exception("failed: %s", "this")
    logging.getLogger("some.library").info("chatter")
    (line,) = lines()
    told = fields(line)
    assert told["event"] == "library"
    assert told["logger"] == "some.library"
    assert "failed: this" in told["text"]
    assert "Traceback" in told["text"]


def test_first_line_after_a_pause_is_written_at_once(tmp_path: Path) -> None:
    file = tmp_path / "log"
    log.setup("server", 0, Log(file=str(file)))
    log_lines._state.due_tick = 0
    log_lines._state.tick = 0
    log.removed("q1")
    assert len(file.read_text().splitlines()) == 1
    log.removed("q2")
    log.removed("q3")
    log.flush()
    assert [line.rpartition("=")[2] for line in file.read_text().splitlines()] == ["q1", "q2", "q3"]


def test_many_lines_are_written_in_few_pieces(tmp_path: Path) -> None:
    file = tmp_path / "log"
    log.setup("server", 0, Log(file=str(file)))
    for number in range(10_000):
        log.removed(str(number))
        assert len(log_lines._state.pieces) <= log_lines.PENDING_PIECES
    log.flush()
    assert [int(line.rpartition("=")[2]) for line in file.read_text().splitlines()] == list(range(10_000))


def test_a_file_that_cannot_be_opened_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"log\.file: .*No such file"):
        log.setup("server", 0, Log(file=str(tmp_path / "no" / "log")))


class _Disk:
    """Stands in for `os.write`: takes `room` bytes, then is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = 1 << 30
        self.data = b""
        monkeypatch.setattr(log_sink.Sink, "_write", lambda _, data: self.write(data))

    def write(self, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "full")
        taken = data[: self.room]
        self.room -= len(taken)
        self.data += taken
        return len(taken)


def test_full_disk_loses_lines_counts_them_and_says_so_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = _Disk(monkeypatch)
    log.setup("server", 0, Log(file=str(tmp_path / "log")))

    def tell(queue_id: str) -> None:
        log.removed(queue_id)
        log.flush()

    tell("q1")
    disk.room = 10  # tears the next line
    tell("q2")
    tell("q3")
    disk.room = 1 << 30
    tell("q4")
    tell("q5")
    told = disk.data.decode().splitlines()
    assert [line.split(" ", 2)[-1] for line in told] == [
        "event=removed queue=q1",
        told[1],  # the torn one, which does not run into the next
        "event=lost lines=2",
        "event=removed queue=q4",
        "event=removed queue=q5",
    ]
    assert len(told[1]) == 10


def test_pipe_that_nobody_reads_never_holds_us_up() -> None:
    """Standard error is a pipe that is not read while far more is logged than it holds; then it is."""
    program = (
        "from mta import log\n"
        "from mta.config import Log\n"
        "log.setup('mta', 0, Log())\n"
        "for number in range(40000):\n"
        "    log.note('step', number=number, text='x' * 60)\n"
        "log.flush()\n"
        "print('done', flush=True)\n"
        "input()\n"
        "log.note('end'); log.flush()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
    )
    assert process.stdout
    assert process.stdout.readline() == b"done\n"
    out, written = process.communicate(b"\n", timeout=30)
    assert not out
    lines = written.decode().splitlines()
    assert all(re.match(f"time={TIME} process=mta/0 event=", line) for line in lines)
    numbers = [int(m[1]) for line in lines if (m := re.search("event=step number=(\\d+)", line))]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) < 40000


def test_a_file_as_standard_error_is_shared_with_others(tmp_path: Path) -> None:
    program = (
        "import os\n"
        "from mta import log\n"
        "log.note('one'); log.flush(); os.write(2, b'between\\n'); log.note('two'); log.flush()\n"
    )
    file = tmp_path / "stderr"
    with file.open("wb") as stderr:
        subprocess.run([sys.executable, "-c", program], stderr=stderr, check=True, cwd=Path(__file__).parent.parent)
    assert [line.rpartition("=")[2] for line in file.read_text().splitlines()] == ["one", "between", "two"]


def test_closed_standard_error_is_no_problem() -> None:
    program = (
        "import os; os.close(2)\n"
        "from mta import log\n"
        "from mta.config import Log\n"
        "log.removed('q'); log.flush(); log.setup('server', 0, Log()); log.removed('q'); log.flush(); print('fine')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, cwd=Path(__file__).parent.parent
    )
    assert done.stdout == b"fine\n"


def test_processes_share_a_file_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "log"
    program = (
        "import sys\n"
        "from mta import log\n"
        "from mta.config import Log\n"
        "log.setup('server', int(sys.argv[2]), Log(file=sys.argv[1]))\n"
        "for number in range(5000): log.removed(str(number))\n"
        "log.flush()\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(file), str(n)], cwd=Path(__file__).parent.parent)
        for n in range(2)
    ]
    assert [process.wait(30) for process in started] == [0, 0]
    lines = file.read_text().splitlines()
    assert len(lines) == 10_000
    assert all(re.fullmatch(rf"time={TIME} process=server/[01] event=removed queue=\d+", line) for line in lines)


def test_printable_text_for_terminals() -> None:
    assert log_text.printable(b"a\x1b[0m\xff\n") == r"a\x1b[0m\xff\n"
    assert log_text.printable("käse") == "käse"
    assert os.linesep not in log_text.printable(os.linesep)


def test_before_setup_each_line_goes_to_standard_error_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        log.removed(str(number))
        assert capfd.readouterr().err.endswith(f"event=removed queue={number}\n")
