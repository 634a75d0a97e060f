"""The command `mta` as a process, from its start to its end."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 90.0
CONFIG = """\
hostname = "mx.example.org"
spool = "spool"
[[listen]]
address = "127.0.0.1:0"
[domains]
local = ["example.org"]
[transport.store]
kind = "discard"
[[route]]
recipients = ["*"]
transport = "store"
"""
"""As little as a configuration can be."""


def python(
    *words: str | Path, stdin: bytes = b"", cwd: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A Python that finds our packages; `environment` is added to ours. What it printed has its own ends of lines."""
    done = subprocess.run(
        [sys.executable, *words],
        input=stdin,
        capture_output=True,
        timeout=PATIENCE_S,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def mta(*words: str | Path, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[str]:
    """The command with these words."""
    return python("-m", "mta", *words, stdin=stdin, **environment)
