"""A private Dovecot with a configuration of its own. Needs root, which Dovecot does."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from tests.support.server import HOST, free_port, wait_until

DOVECOT = shutil.which("dovecot", path="/usr/sbin:/usr/bin:/bin")

# What every configuration begins with.
SETTINGS = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = lmtp
ssl = no
"""


def missing() -> str:
    """Why a private Dovecot cannot run here, in words; empty when it can."""
    if DOVECOT is None or not Path("/usr/lib/dovecot/lmtp").exists():
        return "Dovecot is not installed: apt-get install dovecot-core dovecot-lmtpd"
    if os.geteuid() != 0:
        return "Dovecot can only be started by root"
    return ""


class Dovecot:
    """Runs from `start()` to `close()`, and has a `folder` and a `port` of 127.0.0.1 for it.

    The folder is not one of pytest's, which are closed to other users again whenever another pytest starts: Dovecot's
    processes give up root, and must still reach it.
    """

    def __init__(self, parent: Path | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dovecot-", dir=parent))
        self.folder.chmod(0o755)
        self.port = free_port()
        self._log = self.folder / "log"

    def start(self, settings: str) -> None:
        """Start it with `SETTINGS` and those; its port listens when this returns."""
        configuration = self.folder / "dovecot.conf"
        configuration.write_text(SETTINGS.format(folder=self.folder) + settings)
        assert DOVECOT
        self._process = subprocess.Popen([DOVECOT, "-F", "-c", str(configuration)])
        try:
            wait_until(self._listening, "Dovecot listens")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop it, and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder)

    def stop(self) -> None:
        """Stop it; its folder stays."""
        self._process.terminate()
        self._process.wait()

    def processes(self) -> list[int]:
        """The master process and its children, as of now."""
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def _listening(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"Dovecot ended:\n{self._log.read_text(errors='replace')}")
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0
