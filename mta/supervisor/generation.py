"""A configuration at work: with its sockets, and as the memory file that children read."""

import fcntl
import os
import resource

import msgspec

from mta import drain, log
from mta.config import Config
from mta.errors import ConfigError, MtaError
from mta.supervisor.certificates import Certificates
from mta.supervisor.listeners import Listeners

OTHER_DESCRIPTORS = 1024  # of a worker, besides those of its clients: spool, large bodies, pipes, libraries


class Generation(msgspec.Struct, frozen=True):
    """What children of one age have in common."""

    config: Config
    config_fd: int
    listeners: Listeners
    certificates: Certificates

    def count(self, role: str) -> int:
        """How many children of a role there are to be."""
        return {"server": server_count(self.config), "deliver": self.config.processes.deliver, "qmgr": 1}[role]

    def close(self) -> None:
        """Close everything."""
        self.listeners.close()
        self.certificates.close()
        os.close(self.config_fd)

    def retire(self, successor: "Generation") -> None:
        """Close what `successor` does not use as well."""
        self.listeners.close_all_but(successor.listeners)
        self.certificates.close()
        os.close(self.config_fd)


def first(config: Config, now: float) -> Generation:
    """The generation to start with. Raises `ListenError`, and `ConfigError` for certificates."""
    return _made(config, now, None)


def following(config: Config, running: Generation, now: float) -> Generation:
    """The generation after a reload; sockets are shared with the running one where the address is the same, and the
    secret of session tickets is.

    Raises `ConfigError` when something changed that cannot change while we run, or that a certificate is not to be had,
    and `ListenError`.
    """
    fixed = [name for name in ("spool", "user") if getattr(config, name) != getattr(running.config, name)]
    if fixed:
        raise ConfigError([f"{name}: cannot be changed by a reload; stop and start instead" for name in fixed])
    return _made(config, now, running)


def _made(config: Config, now: float, running: Generation | None) -> Generation:
    certificates = Certificates(config.tls, now, running.certificates if running else None)
    try:
        listeners = Listeners(config, server_count(config), running.listeners if running else None)
    except MtaError:
        certificates.close()
        raise
    return Generation(config, _memory_file(config), listeners, certificates)


def server_count(config: Config) -> int:
    """The number of SMTP workers: as configured, or one for each core that we may use; none while we drain."""
    if drain.is_on(config):
        return 0
    return config.processes.server or len(os.sched_getaffinity(0))


def allow_descriptors(config: Config) -> None:
    """Raise the limit on open files, which children inherit, so that the configured connections fit."""
    wanted = config.limits.connections + OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except (OSError, ValueError):  # not root: as many as we may
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        log.problem("the limit on open files is below limits.connections", limit=hard, wanted=wanted)


def _memory_file(config: Config) -> int:
    """A file in memory with the configuration, which nobody can change any more."""
    fd = os.memfd_create("mta-config", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, msgspec.json.encode(config))
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
    return fd
