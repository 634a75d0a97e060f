"""What a child process is given by the supervisor, and how it answers.

The supervisor starts children with fork and exec and hands them everything through inherited descriptors; their
numbers, the role and the index stand in one environment variable. Nothing else passes between the two, so a worker that
is replaced needs no more than its predecessor had.
"""

import json
import os

import msgspec

from mta.config import Config
from mta.errors import IpcError

ENVIRONMENT = "MTA_CHILD"


class ChildContext(msgspec.Struct, frozen=True):
    """The descriptors and the identity of one child.

    `config_fd` is a memory file with the checked configuration as JSON. `lifeline_fd` is the reading end of a pipe that
    the supervisor holds open: end of file there means that the supervisor is gone, and the child must end too.
    `status_fd` is the writing end of a pipe to the supervisor. `wake_fd` is an eventfd that SMTP workers write after
    every sync and the queue manager waits on. `listen_fds` (server only) follow the order of `Config.listen`, and then
    that order again for every further row of sockets: a worker also serves those of workers that a reload took away.
    `tls_fd` (server only) is a memory file with certificates and ticket keys (`mta.tls_file`), `clients_fd` (server
    only) one in which all workers count the connections of each client network (`mta.server.clients`), `sinks_fd` (all
    but delivery workers) one in which the queue manager says which transports are full (`mta.sinks_file`).
    """

    role: str
    index: int
    config_fd: int
    lifeline_fd: int
    status_fd: int
    wake_fd: int
    listen_fds: list[int] = msgspec.field(default_factory=list)
    tls_fd: int = -1
    clients_fd: int = -1
    sinks_fd: int = -1

    @classmethod
    def from_environ(cls) -> "ChildContext":
        """Read the context from the environment; raises `IpcError` where it is absent or wrong."""
        try:
            return msgspec.json.decode(os.environ[ENVIRONMENT], type=cls)
        except (KeyError, msgspec.MsgspecError) as error:
            raise IpcError(f"this program is started by the supervisor only: {error!r}") from None

    def environ(self) -> dict[str, str]:
        """The environment entry that `from_environ` reads."""
        return {ENVIRONMENT: json.dumps(msgspec.to_builtins(self))}

    def descriptors(self) -> tuple[int, ...]:
        """All inherited descriptors (for `subprocess.Popen(pass_fds=)`)."""
        shared = (fd for fd in (self.tls_fd, self.clients_fd, self.sinks_fd) if fd >= 0)
        return (self.config_fd, self.lifeline_fd, self.status_fd, self.wake_fd, *self.listen_fds, *shared)

    def config(self) -> Config:
        """The configuration. Reads from the start of the memory file each time; does not block."""
        size = os.fstat(self.config_fd).st_size
        return msgspec.json.decode(os.pread(self.config_fd, size, 0), type=Config)

    def ready(self) -> None:
        """Tell the supervisor that this child is at work."""
        os.write(self.status_fd, b"ready\n")

    def empty(self) -> None:
        """Tell the supervisor that no mail is left, and that none can come."""
        os.write(self.status_fd, b"empty\n")
