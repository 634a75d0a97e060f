"""A private Exim that sends, or receives: a binary from Debian's package, its own configuration and spool.

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
from tests.support.program import Program
from tests.support.server import HOST, free_port, wait_until

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


RECEIVING = """\
primary_hostname = exim.example.com
exim_path = {binary}
keep_environment = LD_PRELOAD : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP
spool_directory = {folder}/spool
log_file_path = {folder}/%s.log
tls_advertise_hosts = :
acl_smtp_rcpt = check

begin acl
check:
  accept domains = example.org
  deny message = relay not permitted

begin routers
here:
  driver = accept
  transport = store

begin transports
store:
  driver = appendfile
  directory = {folder}/mail
  maildir_format
  user = {user}
  group = {user}
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
        self._folder, self._environment = _made()
        given = dict(options or {})
        for name, file in (files or {}).items():
            given[name] = shutil.copy(file, self._folder / name)
            os.chown(given[name], USER_ID, USER_ID)
        lines = "".join(f"  {name} = {value}\n" for name, value in given.items())
        self._configuration = self._folder / "exim.conf"
        text = CONFIGURATION.format(binary=BINARY, folder=self._folder, host=HOST, port=port, options=lines)
        self._configuration.write_text(text)

    def send(self, sender: str, recipients: Sequence[str], content: bytes) -> str:
        """Submit a message and wait until one attempt to deliver it is over; returns Exim's log so far."""
        command = [str(BINARY), "-C", str(self._configuration), "-odf", "-oi", "-f", sender, "--", *recipients]
        subprocess.run(
            command, input=content, env=self._environment, check=True, capture_output=True, timeout=TIMEOUT_S
        )
        return self.log()

    def log(self) -> str:
        """What it has logged: a line `=>` for each recipient delivered to, `**` refused, `==` deferred."""
        return "".join(file.read_text(errors="replace") for file in sorted(self._folder.glob("*.log")))

    def __enter__(self) -> "Exim":
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder)


class EximServer(Program):
    """An Exim that listens, from entry to exit; it puts mail for example.org into one maildir, and takes no other."""

    name = "Exim"

    def __init__(self) -> None:
        self._folder, environment = _made()
        port = free_port()
        configuration = self._folder / "exim.conf"
        configuration.write_text(RECEIVING.format(binary=BINARY, folder=self._folder, user=USER_ID))
        command = [str(BINARY), "-C", str(configuration), "-bdf", "-oX", f"<; [{HOST}]:{port}"]
        super().__init__(command, self._folder / "output", port, env=environment)

    def mail(self, count: int) -> list[bytes]:
        """The content of the mailbox, once there is so much."""
        folder = self._folder / "mail" / "new"
        wait_until(lambda: folder.exists() and len(list(folder.iterdir())) >= count, f"{count} files")
        return [path.read_bytes() for path in folder.iterdir()]

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        shutil.rmtree(self._folder)


def _made() -> tuple[Path, dict[str, str]]:
    """A folder for an Exim, and the environment that shows it its user."""
    folder = Path(tempfile.mkdtemp(prefix="exim-"))
    folder.chmod(0o755)  # Exim gives up root, and must still reach it
    (folder / "passwd").write_text(PASSWD)
    (folder / "group").write_text(GROUP)
    for one in (folder, folder / "spool"):
        one.mkdir(exist_ok=True)
        os.chown(one, USER_ID, USER_ID)
    wrapped = {"NSS_WRAPPER_PASSWD": str(folder / "passwd"), "NSS_WRAPPER_GROUP": str(folder / "group")}
    return folder, {**os.environ, "LD_PRELOAD": WRAPPER, **wrapped}
