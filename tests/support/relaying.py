"""A relaying transport with a next hop to talk to: what tests of SMTP and LMTP delivery start from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import gevent
from gevent.event import Event

from mta.config import Transport as Settings
from mta.deliver import relay
from mta.deliver.relay import Relay
from mta.ipc import Outcome
from tests.support.deliveries import FakeMessage, FakeMessages, Outcomes, mail
from tests.support.nexthop import NextHop, Script

Kind = Literal["smtp", "lmtp"]
DEADLINE_S = 10
BODY = b"Subject: x\r\n\r\n.dot\r\nhello\r\n"


class Relaying:
    """A transport, its next hop, a spool and the outcomes."""

    def __init__(self) -> None:
        self.messages: dict[int, FakeMessage] = {1: FakeMessage(mail("joe@example.org"), BODY)}
        self._changed = Event()
        self.outcomes = Outcomes(self._changed.set)
        self._closing: list[Callable[[], None]] = []
        self.transport: Relay

    def play(
        self,
        script: Script,
        *,
        kind: Kind = "smtp",
        timeout_s: float = DEADLINE_S,
        concurrency: int = 20,
        unix_path: Path | None = None,
        **settings: Any,
    ) -> NextHop:
        """Start a next hop that plays `script`, and a transport for it; `settings` are further ones of it."""
        hop = NextHop(script, unix_path)
        self._closing.append(hop.close)
        self.use(hop.host, kind=kind, timeout_s=timeout_s, concurrency=concurrency, **settings)
        return hop

    def use(
        self,
        host: str,
        *,
        kind: Kind = "smtp",
        timeout_s: float = DEADLINE_S,
        concurrency: int = 20,
        **more: Any,
    ) -> None:
        """Make a transport for `host`."""
        limits = {"timeout_s": timeout_s, "connect_timeout_s": timeout_s, "concurrency": concurrency}
        settings = Settings(kind, host=host, **limits, **more)
        self.transport = relay.make(settings, "me.example", FakeMessages(self.messages))
        self._closing.append(self.transport.close)

    def deliver(self, *works: tuple[int, tuple[int, ...]]) -> list[Outcome]:
        """Hand out works (location, recipients), one packet; returns their outcomes."""
        made = [self.outcomes.work(location, recipients) for location, recipients in works or [(1, (0,))]]
        self.transport.take(made)
        return self.wait([work.job.number for work in made])

    def wait(self, numbers: list[int]) -> list[Outcome]:
        """Until the jobs of those numbers have ended."""
        with gevent.Timeout(DEADLINE_S):
            while any(number not in self.outcomes.ended for number in numbers):
                self._changed.clear()
                self._changed.wait()
        ended = [self.outcomes.ended[number] for number in numbers]
        return [outcome for outcome in ended if outcome]

    def one(self, location: int = 1, recipients: tuple[int, ...] = (0,)) -> list[tuple[int, str]]:
        """Deliver one work; status and code of each recipient, empty when all have it."""
        (outcome,) = self.deliver((location, recipients))
        return [(result.status, result.code) for result in outcome.results]

    def close(self) -> None:
        """Close the connections, then the next hops."""
        for close in reversed(self._closing):
            close()
