"""The program that holds idle sessions open."""

import subprocess
import sys

from tests.support.server import HOST, ROOT
from tests.support.sink import Sink


def test_sessions_are_held_until_the_end_of_input() -> None:
    """It says so when all are open, and counts those that still answer when it is told to end."""
    with Sink() as sink:
        command = [sys.executable, str(ROOT / "bench" / "idle.py"), f"{HOST}:{sink.port}", "5"]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holding 5\n"
        assert holder.communicate(timeout=30)[0] == "alive 5\n"
        assert holder.returncode == 0
