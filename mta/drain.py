"""The order to empty a node: take no new mail, hand on what there is, then end (`mta drain`).

It lies in the spool, as `qmgr/drain`, so that it holds over a restart. The queue manager writes it when it is told to
(`mta.qmgr.draining`); the supervisor looks at it once a second and renews its processes as at a reload, with the
configuration that `applied` makes: no listener, and with `to` one transport more, `PEER`. What a process is to do, it
sees by that configuration. The order stays when the node is empty: one that was to go must not take mail because it was
started again.
"""

import os
import stat
from contextlib import suppress

import msgspec
from msgspec.structs import replace

from mta.config import Config, Route, Transport
from mta.endpoint import parse_next_hop
from mta.errors import ConfigError, SpoolError

PEER = "(drain)"  # the transport to who takes over; no name that a configuration can have
FILE_BYTES = 4096  # longest order that is read
LIFETIME_S = 31_536_000.0  # what is handed over is given up by who gets it, not here


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Drain. `to` is who gets what there is: a host and port, or the name of a transport; empty: as the routes say."""

    since_wall: float
    to: str = ""


def path(spool: str) -> str:
    """Where the order lies."""
    return os.path.join(spool, "qmgr", "drain")


def read(spool: str) -> Order | None:
    """The order, if there is one. Blocks on the disk; raises `SpoolError` for a file that is none.

    The file is that of the user who handles mail, and the reader may be root: nothing but a short regular file is read.
    """
    file = path(spool)
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise SpoolError(f"{file}: no regular file")
            data = os.read(fd, FILE_BYTES)
        finally:
            os.close(fd)
        return msgspec.json.decode(data, type=Order)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SpoolError(f"{file}: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise SpoolError(f"{file}: not an order to drain: {error}") from None


def write(spool: str, order: Order) -> None:
    """Put an order in place of any other, on the disk when this returns. Raises `SpoolError`."""
    file = path(spool)
    fresh = f"{file}.new"
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(fd, msgspec.json.encode(order))
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(fresh, file)
        _sync_folder(file)
    except OSError as error:
        raise SpoolError(f"{file}: {error.strerror}") from None


def forget(spool: str) -> None:
    """Take the order away, on the disk when this returns. Raises `SpoolError`."""
    file = path(spool)
    try:
        with suppress(FileNotFoundError):
            os.unlink(file)
        _sync_folder(file)
    except OSError as error:
        raise SpoolError(f"{file}: {error.strerror}") from None


def _sync_folder(file: str) -> None:
    fd = os.open(os.path.dirname(file), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


# ---------------------------------------------------------------------------------------------------------------------
# What it makes of a configuration


def applied(config: Config, order: Order | None) -> Config:
    """The configuration to work with under an order. Raises `ConfigError` when there is no such peer in it."""
    if order is None:
        return config
    transports = dict(config.transport)
    if order.to:
        try:
            transports[PEER] = peer(config, order.to)
        except ValueError as error:
            raise ConfigError([f"the order to drain (mta drain --cancel takes it back): {error}"]) from None
    return replace(config, listen=[], transport=transports)


def peer(config: Config, to: str) -> Transport:
    """The transport to a peer: the one of that name, or one of kind smtp to a host; raises `ValueError`."""
    named = config.transport.get(to)
    if named is None:
        try:
            parse_next_hop(to)
        except ValueError as error:
            raise ValueError(f"{to!r} is no transport; a name, or {error} is allowed") from None
        return Transport(kind="smtp", host=to)
    if named.kind != "smtp" or not named.host:
        raise ValueError(f"transport {to!r} is not of kind smtp with a host")
    return named


def is_on(config: Config) -> bool:
    """Whether a process with this configuration is to drain: no other has no listener."""
    return not config.listen


def told(config: Config) -> str:
    """What a process with this configuration does, for people: empty, `deliver`, or the peer."""
    peer_there = config.transport.get(PEER)
    return peer_there.host if peer_there is not None else "deliver" if is_on(config) else ""


def for_queue(config: Config) -> Config:
    """What the queue manager goes by: with a peer everything goes there, wherever it was to go, and is kept until then.

    The other transports are for copies, and for a manager that is about to be replaced.
    """
    if PEER not in config.transport:
        return config
    return replace(
        config,
        route=[Route(recipients=["*"], transport=PEER)],
        queue=replace(config.queue, lifetime_s=LIFETIME_S, delay_warning_s=0.0),
    )
