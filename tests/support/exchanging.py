"""A transport without a host, with a DNS in memory and next hops on several loopback addresses."""

import random
from pathlib import Path
from typing import Any

from mta.config import Transport as Settings
from mta.deliver import domains
from mta.deliver.hosts import Asked, Hosts
from mta.deliver.tls import for_hosts
from tests.support.deliveries import FakeMessages
from tests.support.nexthop import NextHop, Script
from tests.support.relaying import DEADLINE_S, Relaying
from tests.support.resolver import FakeResolver


class Exchanging(Relaying):
    """All next hops have one port. `own` are the addresses that count as ours.

    `sts` is where policies of MTA-STS come from.
    """

    def __init__(self) -> None:
        super().__init__()
        self.resolver = FakeResolver()
        self.port = 0
        self.own: set[str] = set()
        self.sts: Asked | None = None

    def listen(self, address: str, script: Script) -> NextHop:
        """Start a next hop there."""
        hop = NextHop(script, address=(address, self.port))
        self.port = int(hop.host.rpartition(":")[2])
        self._closing.append(hop.close)
        return hop

    def begin(self, **more: Any) -> None:
        """Make the transport, once next hops listen."""
        settings = Settings("smtp", timeout_s=DEADLINE_S, connect_timeout_s=DEADLINE_S, **more)
        hosts = Hosts(
            self.resolver,  # type: ignore[arg-type]
            b"me.example",
            for_hosts(settings),
            sts=self.sts,
            is_own=lambda text: text in self.own,
            port=self.port,
            rng=random.Random(1),
        )
        messages = FakeMessages(self.messages)
        self.transport = domains.make(settings, "me.example", messages, self.resolver, Path(), hosts)  # type: ignore
        self._closing.append(self.transport.close)
