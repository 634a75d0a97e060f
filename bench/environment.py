"""Where a measurement was made: the part of a report without which its figures say nothing."""

import os
import platform
import subprocess
from pathlib import Path

from mta import __version__
from tests.support import postfix

PACKAGE = "postfix"


def ensure_postfix() -> None:
    """Install Postfix from the distribution where it is absent; raises `PostfixUnavailable` with what to do instead.

    Blocks while apt-get works. The system's own Postfix stays unconfigured ("No configuration"): nothing listens.
    """
    reason = postfix.missing()
    if not reason:
        return
    if os.geteuid() != 0:
        raise postfix.PostfixUnavailable(f"{reason}. Run this as root: apt-get and Postfix itself need it.")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    answer = b"postfix postfix/main_mailer_type select No configuration\n"
    try:
        subprocess.run(["debconf-set-selections"], input=answer, check=True)
        subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", PACKAGE], env=environment, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise postfix.PostfixUnavailable(f"{reason}; installing it failed: {error}") from None
    reason = postfix.missing()
    if reason:
        raise postfix.PostfixUnavailable(reason)


def describe(folder: Path) -> dict[str, str]:
    """The machine and the versions. `folder` is where the queues lie."""
    return {
        "processor": f"{os.cpu_count()} x {_processor()}",
        "kernel": platform.release(),
        "file system": _file_system(folder),
        "Postfix": postfix.version(),
        "mta": f"{__version__}, CPython {platform.python_version()}",
    }


def _processor() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(folder: Path) -> str:
    """The type of the file system that holds `folder`, by its longest mount point."""
    path, best = str(folder.resolve()), ("", "unknown")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _device, point, kind = line.split()[:3]
        if (path + "/").startswith(point.rstrip("/") + "/") and len(point) > len(best[0]):
            best = (point, kind)
    return best[1]
