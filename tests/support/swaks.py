"""swaks, the Swiss Army Knife for SMTP, and the transcript that it prints."""

import subprocess

from tests.support.front import need
from tests.support.server import HOST

TIMEOUT_S = 60


def swaks(port: int, *arguments: str, code: int | None = 0) -> str:
    """Run swaks against a port of 127.0.0.1 and demand its exit code (None: any); returns the transcript.

    In it, lines of the server begin with `<-  `, or `<~  ` under TLS, and refusals with `<** ` or `<~* `.
    """
    command = [need("swaks"), "--server", HOST, "--port", str(port), "--helo", "swaks.example.com", *arguments]
    if "--from" not in arguments:
        command += ["--from", "a@example.com"]
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert code in (None, result.returncode), f"exit code {result.returncode}:\n{result.stdout}{result.stderr}"
    return result.stdout


def replies(transcript: str) -> list[str]:
    """What the server said, line by line, in the clear and under TLS."""
    marks = ("<-  ", "<~  ", "<** ", "<~* ")
    return [line[4:] for line in transcript.splitlines() if line.startswith(marks)]
