"""The resolvers that are asked: which first, and what is remembered of each. Pure: time is an argument."""

from collections.abc import Iterable, Iterator
from enum import Enum

from mta.dns.settings import Server

STRIKES = 3
"""Look-ups in a row without any answer until a server counts as failed. One may be the fault of a domain whose own
servers are silent."""

FAILED_S = 30.0
"""How long a failed server is asked last."""

PLAIN_S = 900.0
"""How long a server that does not take EDNS is asked without."""


class Edns(Enum):
    """What is known of a server and EDNS."""

    UNKNOWN = "unknown"
    TAKEN = "taken"
    REFUSED = "refused"  # or met with silence


class Upstream:
    """One server."""

    __slots__ = ("_edns", "_failed_until", "_plain_until", "_strikes", "server")

    def __init__(self, server: Server) -> None:
        self.server = server
        self._edns = Edns.UNKNOWN
        self._strikes = 0
        self._failed_until = float("-inf")
        self._plain_until = float("-inf")

    def __str__(self) -> str:
        return str(self.server)

    def is_failed(self, now: float) -> bool:
        """Whether others should be asked before it."""
        return now < self._failed_until

    def answered(self) -> None:
        """It said something, whatever it was."""
        self._strikes = 0
        self._failed_until = float("-inf")

    def silent(self, now: float) -> None:
        """A look-up had no answer from it."""
        self._strikes += 1
        if self._strikes >= STRIKES:
            self._failed_until = now + FAILED_S

    def unreachable(self, now: float) -> None:
        """Nobody is there: the system said so."""
        self._strikes = STRIKES
        self._failed_until = now + FAILED_S

    def wants_edns(self, now: float, attempt: int) -> bool:
        """Whether to ask with EDNS, the `attempt`-th time (from 0) in one look-up.

        What never answered with EDNS gets its second question without: the silence may be that of something on the way.
        """
        if self._edns is Edns.REFUSED and now >= self._plain_until:
            self._edns = Edns.UNKNOWN
        return self._edns is Edns.TAKEN or (self._edns is Edns.UNKNOWN and not attempt)

    def took_edns(self) -> None:
        """It answered with EDNS."""
        self._edns = Edns.TAKEN

    def refused_edns(self, now: float) -> None:
        """It said that it does not understand a query with EDNS, or answered only one without."""
        self._edns = Edns.REFUSED
        self._plain_until = now + PLAIN_S


class Upstreams:
    """All servers, in the order in which the settings have them."""

    def __init__(self, servers: Iterable[Server]) -> None:
        self._all = [Upstream(server) for server in servers]

    def __iter__(self) -> Iterator[Upstream]:
        return iter(self._all)

    def order(self, now: float) -> list[Upstream]:
        """All of them; those that failed lately behind the others."""
        if len(self._all) == 1:
            return list(self._all)
        return sorted(self._all, key=lambda upstream: upstream.is_failed(now))
