"""A DNS in memory, with the interface of `mta.dns.stub.Resolver`."""

from typing import Any

from mta.dns.answer import Answer, Status
from mta.dns.message import Mx, Type


class FakeResolver:
    """Answers from `zone`: records by name and type, or a status in their place. What is not there does not exist.

    `authentic` are the names whose answers are signed. `asked` has every look-up.
    """

    def __init__(self, zone: dict[tuple[str, Type], Any] | None = None) -> None:
        self.zone = dict(zone or {})
        self.authentic: set[str] = set()
        self.asked: list[tuple[str, Type]] = []

    def lookup(self, name: bytes, rtype: Type, *, timeout_s: float | None = None) -> Answer[Any]:
        text = name.decode()
        self.asked.append((text, rtype))
        is_authentic = text in self.authentic
        found = self.zone.get((text, rtype))
        if isinstance(found, Answer):
            return found
        if isinstance(found, Status):
            return Answer(found, (), is_authentic, 60, name, "SERVFAIL" if found is Status.FAILED else "")
        if found:
            return Answer(Status.OK, tuple(found), is_authentic, 60, name)
        exists = any(known == text or known.endswith("." + text) for known, _ in self.zone)
        return Answer(Status.NODATA if exists else Status.NXDOMAIN, (), is_authentic, 60, name)


def mx(*hosts: tuple[int, str]) -> list[Mx]:
    """MX records."""
    return [Mx(preference, name.encode()) for preference, name in hosts]
