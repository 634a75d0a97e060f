"""A private Dovecot with a configuration of its own. Needs root, which Dovecot does."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

from tests.support.server import HOST, wait_until

DOVECOT = shutil.which("dovecot", path="/usr/sbin:/usr/bin:/bin")

# What every configuration begins with. `folder` is the instance's; Dovecot's processes must be able to reach it.
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
    """Runs from its making to `close()`; `port` of 127.0.0.1 listens then. `settings` follow `SETTINGS`."""

    def __init__(self, folder: Path, port: int, settings: str) -> None:
        self.port = port
        self._log = folder / "log"
        configuration = folder / "dovecot.conf"
        configuration.write_text(SETTINGS.format(folder=folder) + settings)
        assert DOVECOT
        self._process = subprocess.Popen([DOVECOT, "-F", "-c", str(configuration)])
        try:
            wait_until(self._listening, "Dovecot listens")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait()

    def _listening(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"Dovecot ended:\n{self._log.read_text(errors='replace')}")
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0
