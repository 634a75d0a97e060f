"""A stand-in for a worker. Started by the real supervisor with `fake_child.py FOLDER`.

What it does is told by files in FOLDER, looked up as `<role>.<word>`: `dies` (with exit code 70 before it is ready),
`stubborn` (ignores TERM and INT), `mute` (is never ready). A server answers each connection with its process id.
"""

import os
import select
import signal
import socket
import sys
from pathlib import Path

from mta import log
from mta.child import ChildContext
from mta.errors import EX_SOFTWARE


def answer(listener: socket.socket) -> bool:
    try:
        client, _ = listener.accept()
    except OSError:  # another took it, or nobody listens any more
        return False
    client.sendall(b"%d" % os.getpid())
    client.close()
    return True


def main() -> int:
    folder = Path(sys.argv[1])
    context = ChildContext.from_environ()
    config = context.config()
    log.setup(context.role, context.index, config.log)

    def told(word: str) -> bool:
        return (folder / f"{context.role}.{word}").exists()

    if told("dies"):
        return EX_SOFTWARE
    listeners = [socket.socket(fileno=fd) for fd in context.listen_fds]
    for listener in listeners:
        listener.setblocking(False)
    wake, wake_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(wake_end)
    log.note("born", pid=os.getpid(), sockets=len(listeners), hostname=config.hostname, uid=os.getuid())
    log.flush()
    if not told("mute"):
        context.ready()
    while True:
        ready, _, _ = select.select([wake, context.lifeline_fd, *listeners], [], [])
        if context.lifeline_fd in ready:
            log.note("orphaned", pid=os.getpid())
            log.flush()
            return 0
        if wake in ready:
            numbers = [signal.Signals(number).name for number in os.read(wake, 64)]
            log.note("told", pid=os.getpid(), signals=" ".join(numbers))
            log.flush()
            if not told("stubborn"):
                return 0
        for listener in listeners:
            if listener in ready:
                answer(listener)


if __name__ == "__main__":
    sys.exit(main())
