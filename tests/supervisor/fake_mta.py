"""The real supervisor with stand-ins for its children: `fake_mta.py FOLDER READY_FD`.

The configuration is FOLDER/config.json. Waiting is bounded more tightly than in earnest; FOLDER/timing.json, where
it is present, says how tightly. Children are fake_child.py, or a line of shell where FOLDER/shell exists.
"""

import sys
from pathlib import Path

import msgspec

from mta import log
from mta.config import Config
from mta.errors import ConfigError, MtaError
from mta.supervisor.main import Supervisor, Timing

# A child that any user can run, wherever the interpreter is installed. Says who it is, is ready, and waits.
SHELL_CHILD = r"""
echo "event=born pid=$$ uid=$(id -u) groups=$(id -G | tr ' ' ,)" >&2
fd=$(printf %s "$MTA_CHILD" | sed 's/.*"status_fd": *\([0-9]*\).*/\1/')
eval "echo ready >&$fd"
exec sleep 3600
"""


def timing(folder: Path) -> Timing:
    file = folder / "timing.json"
    if file.exists():
        return msgspec.json.decode(file.read_bytes(), type=Timing)
    return Timing(start=60.0, drain=30.0, fast=15.0)


def main() -> int:
    folder = Path(sys.argv[1])
    here = Path(__file__).parent
    is_python = not (folder / "shell").exists()
    fake = (sys.executable, str(here / "fake_child.py"), str(folder)) if is_python else ("/bin/bash", "-c", SHELL_CHILD)

    def load() -> Config:
        try:
            return msgspec.json.decode((folder / "config.json").read_bytes(), type=Config)
        except msgspec.MsgspecError as error:
            raise ConfigError([f"config.json:1: {error}", "config.json:2: and so on"]) from None

    try:
        supervisor = Supervisor(
            load,
            ready_fd=int(sys.argv[2]),
            commands={role: fake for role in ("server", "qmgr", "deliver")},
            timing=timing(folder),
        )
    except MtaError as error:
        log.flush()
        print(f"mta: {error}", file=sys.stderr)
        return error.exit_code
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main())
