"""A private Postfix: its own configuration, queue, data and log folders, on loopback ports, beside any other one.

Used by the interop tests, where it is a real MTA on the other side of the wire, and by `bench/vs_postfix.py`, where it
is what we are measured against. Nothing of the system's own Postfix configuration is read or changed. Needs root, since
Postfix's master process does.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

SBIN = Path("/usr/sbin")
PROGRAMS = ("postfix", "postconf", "smtp-source", "smtp-sink")
NOBODY = 65534  # owner of what virtual(8) delivers

# Settings common to all instances. What is not named is as Postfix ships it, the fsync before 250 included.
SETTINGS = {
    "compatibility_level": "3.6",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "mydestination": "",
    "mynetworks": "",  # nobody is trusted: mail comes in for our own domains only, as at an MX
    "alias_maps": "",
    "alias_database": "",
    "local_recipient_maps": "",
    "biff": "no",
    "append_dot_mydomain": "no",
    # Limits that are there to slow single clients down, which is what a load generator is.
    "in_flow_delay": "0",
    "smtpd_client_connection_count_limit": "0",
    "smtpd_client_connection_rate_limit": "0",
    "smtpd_client_message_rate_limit": "0",
    "smtpd_client_recipient_rate_limit": "0",
    "default_process_limit": "300",
}

# Debian's services, none of them in a chroot jail; `smtp inet` is written in front of these.
SERVICES = """\
pickup    unix  n       -       n       60      1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
tlsproxy  unix  -       -       n       -       0       tlsproxy
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
verify    unix  -       -       n       -       1       verify
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
proxywrite unix -       -       n       -       1       proxymap
smtp      unix  -       -       n       -       -       smtp
relay     unix  -       -       n       -       -       smtp
showq     unix  n       -       n       -       -       showq
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
virtual   unix  -       n       n       -       -       virtual
lmtp      unix  -       -       n       -       -       lmtp
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
postlog   unix-dgram n  -       n       -       1       postlogd
"""


class PostfixUnavailable(Exception):
    """Postfix is not installed, or we may not run it; the text says which and what to do."""


def missing() -> str:
    """Why a private Postfix cannot run here, in words; empty when it can."""
    absent = [name for name in PROGRAMS if not (SBIN / name).exists()]
    if absent:
        return f"Postfix is not installed ({', '.join(absent)} absent): apt-get install postfix"
    if os.geteuid() != 0:
        return "Postfix can only be started by root"
    return ""


def version() -> str:
    """Postfix's version, such as "3.7.11"."""
    command = [str(SBIN / "postconf"), "-dh", "mail_version"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Postfix:
    """One private instance, started with `start()` and gone, folders included, after `close()`.

    `settings` overrides or extends `SETTINGS` (main.cf), `services` extends `SERVICES` (master.cf). `port` is where its
    smtpd listens on 127.0.0.1. The folder is made under `parent` with a short name, because Postfix's daemons give up
    root and must still reach it (pytest's own folders are closed to other users), and because paths of unix sockets
    are short.
    """

    def __init__(
        self, port: int, settings: Mapping[str, str], *, services: str = "", parent: Path | None = None
    ) -> None:
        reason = missing()
        if reason:
            raise PostfixUnavailable(reason)
        self.port = port
        self.folder = Path(tempfile.mkdtemp(prefix="postfix-", dir=parent))
        self.folder.chmod(0o755)
        self.log = self.folder / "log" / "mail.log"
        self.mail = self.folder / "mail"  # virtual_mailbox_base, and nobody's
        self._configuration = self.folder / "etc"
        self._running = False
        self._write({**SETTINGS, **settings}, services)

    def _write(self, settings: Mapping[str, str], services: str) -> None:
        """Write main.cf and master.cf, and make the folders that they name."""
        queue, data = self.folder / "queue", self.folder / "data"
        for folder in (queue, data, self._configuration, self.log.parent, self.mail):
            folder.mkdir()
        owner = pwd.getpwnam("postfix")
        os.chown(data, owner.pw_uid, owner.pw_gid)
        os.chown(self.mail, NOBODY, NOBODY)
        own = {
            "queue_directory": str(queue),
            "data_directory": str(data),
            "maillog_file": str(self.log),
            "maillog_file_prefixes": str(self.folder),
            "myhostname": "postfix.example.org",
            "virtual_mailbox_base": str(self.mail),
            "virtual_uid_maps": f"static:{NOBODY}",
            "virtual_gid_maps": f"static:{NOBODY}",
        }
        lines = [f"{name} = {value}\n" for name, value in {**own, **settings}.items()]
        (self._configuration / "main.cf").write_text("".join(lines))
        smtpd = f"127.0.0.1:{self.port} inet n - n - - smtpd\n"
        (self._configuration / "master.cf").write_text(smtpd + SERVICES + services)

    def control(self, verb: str) -> None:
        """Run `postfix -c FOLDER VERB`; raises `RuntimeError` with what it said when it fails. Blocks until it ends."""
        command = [str(SBIN / "postfix"), "-c", str(self._configuration), verb]
        # Its children inherit standard output, so that must not be a pipe that we read to the end.
        with tempfile.TemporaryFile() as output:
            code = subprocess.call(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            output.seek(0)
            said = output.read().decode(errors="replace")
        if code:
            log = self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""
            raise RuntimeError(f"{' '.join(command)} failed:\n{said}{log}")

    def start(self) -> None:
        """Start the instance; its port listens when this returns."""
        self.control("start")
        self._running = True

    def stop(self) -> None:
        """Stop the instance. `postfix stop` waits for the master to end."""
        if self._running:
            self._running = False
            self.control("stop")

    def close(self) -> None:
        """Stop the instance and remove its folders."""
        self.stop()
        shutil.rmtree(self.folder)

    def __enter__(self) -> "Postfix":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def send(self, sender: str, recipients: list[str], content: bytes, options: Sequence[str] = ()) -> None:
        """Hand a message to this instance as a local program does (`sendmail`), to be sent where its settings say.

        `options` are further ones of that program: -N and -V for what is asked of notifications, say.
        """
        fixed = [str(SBIN / "sendmail"), "-C", str(self._configuration), "-i", "-f", sender]
        command = [*fixed, *options, "--", *recipients]
        subprocess.run(command, input=content, check=True, capture_output=True)

    def queue_files(self) -> int:
        """How many messages are in the queue now, counted by their files. Reads folders; costs with their size."""
        folders = [self.folder / "queue" / name for name in ("maildrop", "incoming", "active", "deferred")]
        return sum(len(files) for folder in folders for _, _, files in os.walk(folder))

    def wait_empty(self, timeout_s: float = 60.0) -> None:
        """Wait until the queue is empty; raises `TimeoutError` with the end of the log."""
        deadline = time.monotonic() + timeout_s
        while self.queue_files():
            if time.monotonic() > deadline:
                raise TimeoutError(f"Postfix's queue is not empty:\n{self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)
