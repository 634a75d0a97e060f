"""The delivery worker: `python -m mta.deliver.main`, started by the supervisor (`mta.child`).

TERM, or the supervisor's end, finishes what is begun, within a bound, reports it and ends with 0. INT ends at once
with 0; what was in hand is handed out again.
"""

import os
import signal
import sys
from pathlib import Path
from time import monotonic

import gevent
from gevent.event import AsyncResult
from gevent.hub import get_hub
from gevent.socket import wait_read

from mta import fastparse, ipc, log
from mta.child import ChildContext
from mta.config import Config
from mta.deliver import domains, http, maildir, mbox, pipe, relay
from mta.deliver.attempt import Transport
from mta.deliver.discard import Discard
from mta.deliver.fail import Fail
from mta.deliver.link import Link
from mta.deliver.messages import SpoolMessages
from mta.dns.stub import Resolver
from mta.errors import EX_OK, EX_OSERR, MtaError

GRACE_S = 20.0  # for deliveries that are on their way when TERM comes
ORPHAN_GRACE_S = 3.0  # the same when the supervisor is gone
TICK_S = 0.2  # the lines of the log are written at least so often


def make_transports(config: Config) -> dict[str, Transport]:
    """The configured transports by name. Makes the roots of maildirs; raises `ConfigError` or `OSError`."""
    spool = Path(config.spool)
    home = next(iter(config.domains.local), config.hostname)  # of a bare postmaster
    resolver: Resolver | None = None  # one for all: it has a cache
    made: dict[str, Transport] = {}
    for name, settings in config.transport.items():
        if settings.kind == "discard":
            made[name] = Discard()
        elif settings.kind == "fail":
            made[name] = Fail(settings.code, settings.text, SpoolMessages(spool))
        elif settings.kind == "pipe":
            made[name] = pipe.make(settings, home, spool)
        elif settings.kind == "http":
            made[name] = http.make(settings, spool)
        elif settings.kind == "mbox":
            made[name] = mbox.make(settings.path, home, lambda: SpoolMessages(spool))
        elif settings.kind == "maildir":
            made[name] = maildir.make(settings.path, home, lambda: SpoolMessages(spool))
        elif settings.kind == "smtp" and not settings.host:
            resolver = resolver or Resolver(config.dns, monotonic)
            made[name] = domains.make(settings, config.hostname, SpoolMessages(spool), resolver, spool)
        else:
            made[name] = relay.make(settings, config.hostname, SpoolMessages(spool))
    return made


def serve(context: ChildContext, config: Config) -> None:
    """Work until told to end. Blocks; raises `ConfigError` or `OSError` when a transport cannot be set up."""
    folder = os.path.join(config.spool, "qmgr")
    transports = make_transports(config)
    link = Link(lambda: ipc.connect(folder, ipc.Hello("deliver", os.getpid())), transports)
    ending: AsyncResult[float] = AsyncResult()
    gevent.signal_handler(signal.SIGTERM, ending.set, GRACE_S)
    gevent.signal_handler(signal.SIGINT, ending.set, 0.0)
    gevent.spawn(wait_read, context.lifeline_fd).rawlink(lambda _: ending.set(ORPHAN_GRACE_S))
    ticking = get_hub().loop.timer(TICK_S, TICK_S)
    ticking.start(log.flush)
    running = gevent.spawn(link.run)
    log.started(pid=os.getpid(), parser=fastparse.IMPLEMENTATION, transports=",".join(config.transport))
    context.ready()
    grace_s = ending.get()
    running.kill()
    ticking.stop()
    if grace_s:
        link.drain(grace_s)
    else:
        for transport in transports.values():
            transport.close()


def main() -> int:
    """Run the worker; returns the exit code."""
    try:
        context = ChildContext.from_environ()
        config = context.config()
        log.setup("deliver", context.index, config.log)
    except MtaError as error:
        print(f"mta deliver: {error}", file=sys.stderr)
        return error.exit_code
    try:
        serve(context, config)
    except MtaError as error:
        log.problem(str(error))
        code = error.exit_code
    except OSError as error:
        log.problem("a transport cannot be set up", error=str(error))
        code = EX_OSERR
    else:
        code = EX_OK
    log.stopped(code=code)
    return code


if __name__ == "__main__":
    status = main()
    # Native threads may be in the middle of a sync; the interpreter's own end would wait for them.
    os._exit(status)
