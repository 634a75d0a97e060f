"""A private Exim that sends: its binary unpacked from Debian's package into a folder, its own configuration and spool.

Exim and Postfix exclude each other as Debian packages, so `make peers` unpacks Exim below `.peers/`. The binary insists
on a user that only its package makes; nss_wrapper, preloaded, shows it one. Needs root, which Exim does.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.front import PEERS
from tests.support.server import HOST

BINARY = PEERS / "usr" / "sbin" / "exim4"
WRAPPER = "libnss_wrapper.so"
USER_ID = 65533  # of nobody else's; what Exim's package would make
TIMEOUT_S = 60

PASSWD = f"""\
root:x:0:0:root:/root:/bin/sh
Debian-exim:x:{USER_ID}:{USER_ID}::/nonexistent:/usr/sbin/nologin
"""
GROUP = f"""\
root:x:0:
Debian-exim:x:{USER_ID}:
"""
CONFIGURATION = """\
primary_hostname = exim.example.com
exim_path = {binary}
keep_environment = LD_PRELOAD : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP
spool_directory = {folder}/spool
log_file_path = {folder}/%s.log
log_selector = +smtp_confirmation +tls_cipher +tls_sni +pipelining
qualify_domain = example.com

begin routers
bounces:
  driver = redirect
  senders = :
  data = :blackhole:
out:
  driver = manualroute
  route_list = * {host}
  self = send
  transport = out

begin transports
out:
  driver = smtp
  port = {port}
  allow_localhost
{options}

begin retry
* * F,1h,1m
"""


def missing() -> str:
    """Why a private Exim cannot run here, in words; empty when it can."""
    if not BINARY.exists():
        return f"{BINARY} is absent: make peers"
    if os.geteuid() != 0:
        return "Exim can only be started by root"
    return ""


class Exim:
    """An Exim whose every message goes to a port of 127.0.0.1. No daemon: a message is delivered while it is submitted.

    `options` are those of its smtp transport; `files` are those whose value is a file, which Exim gets a copy of that
    it may read. From entry to exit its folder exists.
    """

    def __init__(
        self, port: int, options: Mapping[str, str] | None = None, files: Mapping[str, Path] | None = None
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="exim-"))
        self._folder.chmod(0o755)  # Exim gives up root, and must still reach it
        (self._folder / "passwd").write_text(PASSWD)
        (self._folder / "group").write_text(GROUP)
        for folder in (self._folder, self._folder / "spool"):
            folder.mkdir(exist_ok=True)
            os.chown(folder, USER_ID, USER_ID)
        given = dict(options or {})
        for name, file in (files or {}).items():
            given[name] = shutil.copy(file, self._folder / name)
            os.chown(given[name], USER_ID, USER_ID)
        lines = "".join(f"  {name} = {value}\n" for name, value in given.items())
        self._configuration = self._folder / "exim.conf"
        text = CONFIGURATION.format(binary=BINARY, folder=self._folder, host=HOST, port=port, options=lines)
        self._configuration.write_text(text)
        self._environment = {
            "LD_PRELOAD": WRAPPER,
            "NSS_WRAPPER_PASSWD": str(self._folder / "passwd"),
            "NSS_WRAPPER_GROUP": str(self._folder / "group"),
        }

    def send(self, sender: str, recipients: Sequence[str], content: bytes) -> str:
        """Submit a message and wait until one attempt to deliver it is over; returns Exim's log so far."""
        command = [str(BINARY), "-C", str(self._configuration), "-odf", "-oi", "-f", sender, "--", *recipients]
        environment = {**os.environ, **self._environment}
        subprocess.run(command, input=content, env=environment, check=True, capture_output=True, timeout=TIMEOUT_S)
        return self.log()

    def log(self) -> str:
        """What it has logged: a line `=>` for each recipient delivered to, `**` refused, `==` deferred."""
        return "".join(file.read_text(errors="replace") for file in sorted(self._folder.glob("*.log")))

    def __enter__(self) -> "Exim":
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder)
