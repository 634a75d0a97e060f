"""Which transports have all the mail they may have waiting, as the queue manager says in shared memory."""

from mta import sinks_file
from mta.config import Config


class Sinks:
    """Asked at RCPT for each transport that a recipient's mail takes."""

    __slots__ = ("_reader",)

    def __init__(self, fd: int, config: Config) -> None:
        """`fd` is a file of `mta.sinks_file.create`. Raises `IpcError`."""
        self._reader = sinks_file.Reader(fd, limited(config))

    def is_full(self, transport: str) -> bool:
        """Whether mail for a transport is to be put off. No system call; nothing is full while no manager runs."""
        return transport in self._reader.full()


def limited(config: Config) -> list[str]:
    """The transports that can be full."""
    return [name for name, transport in config.transport.items() if transport.queue_limit]
