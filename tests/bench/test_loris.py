"""The program that sends commands slowly."""

import json
import socketserver
import subprocess
import sys
import threading

from tests.support.server import HOST, ROOT
from tests.support.sink import Sink

PROGRAM = [sys.executable, str(ROOT / "bench" / "loris.py")]


def test_slow_clients_are_held_until_the_end_of_input() -> None:
    """They finish their commands then, and those that are answered are counted."""
    with Sink() as sink:
        command = [*PROGRAM, f"{HOST}:{sink.port}", "5", "0.05"]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holding 5\n"
        assert holder.communicate(timeout=30)[0] == "alive 5\n"
        assert holder.returncode == 0


class Impatient(socketserver.StreamRequestHandler):
    """Waits for a few bytes of the second command, and ends the session."""

    received: list[bytes] = []

    def handle(self) -> None:
        """Greeting, EHLO, the bytes, 421."""
        self.wfile.write(b"220 mx.example.org\r\n")
        self.rfile.readline()
        self.wfile.write(b"250 mx.example.org\r\n")
        self.received.append(self.rfile.read(8))
        self.wfile.write(b"421 4.4.2 too slow\r\n")


def test_clients_that_are_cut_are_counted_with_their_time() -> None:
    """Each of them has sent a byte after another of its own NOOP."""
    Impatient.received.clear()
    with socketserver.ThreadingTCPServer((HOST, 0), Impatient) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        command = [*PROGRAM, f"{HOST}:{server.server_address[1]}", "3", "0.05", "--until-cut", "30"]
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        server.shutdown()
        thread.join()
    assert Impatient.received == [b"NOOP xxx"] * 3
    holding, found = result.stdout.splitlines()
    assert holding == "holding 3"
    facts = json.loads(found)
    assert (facts["cut"], facts["told"], len(facts["after_s"])) == (3, 3, 3)
    assert all(0 < after_s < 30 for after_s in facts["after_s"])


def test_clients_that_are_not_cut_are_counted_as_well() -> None:
    """It does not wait for ever."""
    with Sink() as sink:
        command = [*PROGRAM, f"{HOST}:{sink.port}", "3", "0.05", "--until-cut", "0.2"]
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert json.loads(result.stdout.splitlines()[1]) == {"cut": 0, "told": 0, "after_s": []}
