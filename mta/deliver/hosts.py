"""Finds the hosts of a domain, now: the look-ups around `mta.deliver.mx`, and what is remembered of addresses.

One that did not answer is tried last for `DEAD_S`, whatever the domain: many share their hosts. Nothing else is kept
here; the resolver has a cache.
"""

import ipaddress
import random
import socket
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

import gevent

from mta.deliver import mx
from mta.deliver.endpoint import Target
from mta.deliver.mx import Failure, Host, Located
from mta.deliver.peer import Address
from mta.deliver.tls import Policy
from mta.dns.answer import Status
from mta.dns.message import Type
from mta.dns.stub import Resolver

SMTP_PORT = 25
DEAD_S = 300.0  # tried last for so long
DEAD_ADDRESSES = 10_000  # that are remembered


class Found(NamedTuple):
    """The targets of a domain, best first. Domains with the same `key` can share connections."""

    key: tuple[object, ...]
    targets: list[Target]


class Hosts:
    """Where the mail of a domain goes."""

    def __init__(
        self,
        resolver: Resolver,
        own_name: bytes,
        tls: Policy,
        *,
        is_own: Callable[[str], bool] | None = None,
        port: int = SMTP_PORT,
        rng: random.Random | None = None,
    ) -> None:
        """`own_name` is ours, in lower case; `tls` what each host gets, but for its name."""
        self._resolver = resolver
        self._own_name = own_name
        self._tls = tls
        self._is_own = is_own or is_local
        self._port = port
        self._rng = rng or random.Random()
        self._dead: dict[Address, float] = {}  # until when (monotonic)

    def find(self, domain: bytes) -> Found | Failure:
        """The hosts of a domain (lower case, A-labels) or address literal. Waits for the DNS; never raises for it."""
        try:
            address = mx.literal(domain)
        except ValueError:
            return Failure(mx.FAILED, "5.1.2", f"{domain.decode('ascii', 'replace')} is no address literal")
        if address is not None:
            ipv4, ipv6 = ((), (address,)) if ":" in address else ((address,), ())
            located = [Located(Host(0, domain), ipv4, ipv6)]
            is_sure = True
        else:
            answer = self._resolver.lookup(domain, Type.MX)
            is_sure = answer.authentic
            hosts = mx.hosts(domain, answer, self._own_name, self._rng)
            if isinstance(hosts, Failure):
                return hosts
            locating = [gevent.spawn(self._locate, host) for host in hosts]
            located = [one.get() for one in locating]
        candidates = mx.addresses(domain, located, self._is_own)
        if isinstance(candidates, Failure):
            return candidates
        targets = []
        for host, text in mx.dead_last(candidates, self._is_dead):
            targets.append(self._target(host, text, is_sure=is_sure or host.name == domain))
        return Found((is_sure, *sorted({host for host, _ in candidates})), targets)

    def failed(self, address: Address) -> None:
        """There is no connection to this one, or none that takes mail."""
        if len(self._dead) >= DEAD_ADDRESSES:
            self._dead.clear()
        self._dead[address] = monotonic() + DEAD_S

    def answered(self, address: Address) -> None:
        """This one takes mail."""
        if self._dead:
            self._dead.pop(address, None)

    def _locate(self, host: Host) -> Located:
        """The addresses of a host. Waits; both kinds are asked for at once."""
        asking = gevent.spawn(self._resolver.lookup, host.name, Type.AAAA)
        ipv4 = self._resolver.lookup(host.name, Type.A)
        ipv6 = asking.get()
        trouble = next((answer.reason for answer in (ipv4, ipv6) if answer.status is Status.FAILED), "")
        return Located(host, ipv4.records, ipv6.records, trouble)

    def _target(self, host: Host, text: str, *, is_sure: bool) -> Target:
        name = host.name.decode("ascii", "backslashreplace")
        label = f"{name}:{self._port}" if name.startswith("[") else f"{name}[{text}]:{self._port}"
        certified = text if name.startswith("[") else name
        return Target(self._address(text), label, self._tls.named(certified, is_sure=is_sure))

    def _address(self, text: str) -> Address:
        if ":" in text:
            return Address(socket.AF_INET6, (text, self._port, 0, 0))
        return Address(socket.AF_INET, (text, self._port))

    def _is_dead(self, text: str) -> bool:
        return bool(self._dead) and self._dead.get(self._address(text), 0.0) > monotonic()


def is_local(text: str) -> bool:
    """Whether an IP address is one of this machine. Sends nothing.

    To reach an address of its own, the kernel uses that very address as the source.
    """
    ip = ipaddress.ip_address(text)
    mapped = getattr(ip, "ipv4_mapped", None)
    if mapped is not None:
        return is_local(str(mapped))
    if ip.is_loopback or ip.is_unspecified:
        return True
    with socket.socket(socket.AF_INET6 if ip.version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((text, SMTP_PORT))
        except OSError:
            return False
        return bool(probe.getsockname()[0] == text)
