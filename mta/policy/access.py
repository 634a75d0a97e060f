"""Who may send to whom, as the administrator's access tables say. Asked at RCPT, so that the log tells sender and
recipient of what was refused.

The order is client, HELO name, sender, recipient, and last the sender's domain. The first refusal decides; an OK ends
the questions for this recipient. It permits nothing that others refuse: no relaying, and nobody who does not exist.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from mta.errors import TableDown
from mta.policy.recipient import Table, is_postmaster
from mta.policy.verdict import ACCEPT, Verdict, refuse
from mta.smtp import replies
from mta.smtp.actions import BadAction, Decision, Stage, parse_action
from mta.smtp.address import parse_domain

PERMIT = Verdict(None, "permit")
"""OK: nothing further is asked."""

TABLE_DOWN = refuse(replies.R451_ACCESS_DOWN)
BAD_ACTION = refuse(replies.R451_ACCESS_VALUE)


class AccessTable(NamedTuple):
    """A table of one stage. `keys` are those to ask for, in order, given what the stage is about.

    `report` is told of values that are no action: the key, and what is wrong with its value.
    """

    stage: Stage
    table: Table
    keys: Callable[[bytes], Iterator[bytes]]
    report: Callable[[bytes, str], None]

    def check(self, about: bytes) -> Verdict:
        """`PERMIT`, a refusal, or `ACCEPT` where the table has nothing to say. Waits as the table does."""
        try:
            for key in self.keys(about):
                value = self.table.get(key)
                if value is not None:
                    return self._verdict(key, value)
        except TableDown:  # which the table has told of
            return TABLE_DOWN
        return ACCEPT

    def _verdict(self, key: bytes, value: bytes) -> Verdict:
        try:
            action = parse_action(value, self.stage)
        except BadAction as error:
            self.report(key, str(error))
            return BAD_ACTION
        if isinstance(action, Decision):
            return PERMIT if action is Decision.OK else ACCEPT
        return refuse(action)


class Access:
    """The access tables of a listener, and what is asked about the domains of senders."""

    __slots__ = ("_sender_domain", "_tables", "asks")

    def __init__(
        self, tables: Mapping[Stage, AccessTable], sender_domain: Callable[[bytes], Verdict] | None = None
    ) -> None:
        """`sender_domain` judges the domain of a sender, in lower case and A-labels; it may wait.

        `asks` is whether there is anything to be asked at all.
        """
        self._tables = dict(tables)
        self._sender_domain = sender_domain
        self.asks = bool(tables) or sender_domain is not None

    def begin(self, *, client: bytes, helo: bytes, sender: bytes) -> "Visit":
        """What is to be asked in a transaction.

        `client` is an address without brackets; `helo` the client's own name for itself; `sender` is empty for `<>`.
        """
        return Visit(self._tables, self._sender_domain, {"client": client, "helo": helo, "sender": sender})


class Visit:
    """A transaction in the eyes of the tables. What is the same for all of its recipients is asked for once."""

    __slots__ = ("_about", "_before", "_domain", "_sender_domain", "_tables")

    def __init__(
        self,
        tables: Mapping[Stage, AccessTable],
        sender_domain: Callable[[bytes], Verdict] | None,
        about: Mapping[Stage, bytes],
    ) -> None:
        self._tables = tables
        self._sender_domain = sender_domain
        self._about = about
        self._before: Verdict | None = None  # what client, HELO and sender come to, once that is known
        self._domain: Verdict | None = None

    def recipient(self, local: bytes, domain: bytes) -> Verdict:
        """The verdict for a recipient; `domain` is lower case, and empty for a bare `postmaster`. May wait.

        Postmaster is never asked about (RFC 5321 section 4.5.1): who is kept out wrongly can tell somebody.
        """
        if not domain or is_postmaster(local):
            return ACCEPT
        if self._before is None:
            self._before = self._ask_before()
        if self._before is not ACCEPT:
            return self._before
        table = self._tables.get("recipient")
        verdict = ACCEPT if table is None else table.check(local + b"@" + domain)
        if verdict is not ACCEPT or self._sender_domain is None:
            return verdict
        if self._domain is None:
            self._domain = self._sender_domain(_domain_of(self._about["sender"]))
        return self._domain

    def _ask_before(self) -> Verdict:
        for stage, about in self._about.items():
            table = self._tables.get(stage)
            verdict = ACCEPT if table is None else table.check(about)
            if verdict is not ACCEPT:
                return verdict
        return ACCEPT


def _domain_of(sender: bytes) -> bytes:
    """The domain of an address that was parsed, as the DNS has it; empty for the null sender."""
    domain = sender.rpartition(b"@")[2]
    return domain.lower() if domain.isascii() else parse_domain(domain)
