"""Finds the hosts of a domain, now: the look-ups around `mta.deliver.mx`, and what is remembered of addresses.

Hosts of a signed zone may have TLSA records: then these say which TLS they get (`mta.deliver.dane`). They are asked for
where everything that leads to them is signed: the MX, or that there is none, and the host's addresses. A host whose
records cannot be looked up is left out, as if it did not answer: an attacker could have made it so.

The domain may have a policy of MTA-STS (`mta.deliver.sts`): then hosts that are not in it are left out, too, and the
others get TLS as it says, unless they have TLSA records. Of a policy for testing, it is only noted what would come.

One address that did not answer is tried last for `DEAD_S`, whatever the domain: many share their hosts. Nothing else is
kept here; the resolver has a cache.
"""

import ipaddress
import random
import socket
import ssl
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

import gevent

from mta import log
from mta.deliver import chain, dane, mx, tls_result
from mta.deliver.endpoint import Target
from mta.deliver.mx import Failure, Host, Located
from mta.deliver.peer import Address
from mta.deliver.sts import Sts
from mta.deliver.sts_policy import Mode, Policy
from mta.deliver.tls import Level
from mta.deliver.tls import Policy as TlsPolicy
from mta.dns.answer import Answer, Status
from mta.dns.message import Type
from mta.dns.stub import Resolver
from mta.ipc import DEFERRED, FAILED

SMTP_PORT = 25
DEAD_S = 300.0  # tried last for so long
DEAD_ADDRESSES = 10_000  # that are remembered


class _Host(NamedTuple):
    """A host: where it is, and what its TLSA records demand, if there are any; or why nobody knows."""

    located: Located
    demand: dane.Demand | None = None
    trouble: str = ""


class Asked(NamedTuple):
    """Where policies of MTA-STS come from, and the context for sessions with the hosts that have one."""

    sts: Sts
    context: ssl.SSLContext


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
        tls: TlsPolicy,
        *,
        sts: Asked | None = None,
        is_own: Callable[[str], bool] | None = None,
        port: int = SMTP_PORT,
        rng: random.Random | None = None,
    ) -> None:
        """`own_name` is ours, in lower case; `tls` what each host gets, but for its name.

        Without `sts` nobody is asked for policies.
        """
        self._resolver = resolver
        self._own_name = own_name
        self._tls = tls
        self._sts = sts
        self._is_own = is_own or is_local
        self._port = port
        self._rng = rng or random.Random()
        self._dead: dict[Address, float] = {}  # until when (monotonic)

    def find(self, domain: bytes) -> Found | Failure:
        """The hosts of a domain (lower case, A-labels) or address literal. Waits for the DNS; never raises for it."""
        try:
            address = mx.literal(domain)
        except ValueError:
            return Failure(FAILED, "5.1.2", f"{domain.decode('ascii', 'replace')} is no address literal")
        if address is not None:
            ipv4, ipv6 = ((), (address,)) if ":" in address else ((address,), ())
            hosts = [_Host(Located(Host(0, domain), ipv4, ipv6))]
            is_sure = True
            policy = None
        else:
            answer = self._resolver.lookup(domain, Type.MX)
            is_sure = answer.authentic
            chosen = mx.hosts(domain, answer, self._own_name, self._rng)
            if isinstance(chosen, Failure):
                return chosen
            locating = [gevent.spawn(self._locate, host, is_signed=is_sure) for host in chosen]
            policy = self._sts.sts.policy(domain) if self._sts else None
            hosts = [_for_domain(one.get(), domain, answer.canonical) for one in locating]
        candidates = mx.addresses(domain, [one.located for one in hosts], self._is_own)
        if isinstance(candidates, Failure):
            return candidates
        if policy is not None and policy.mode is Mode.ENFORCE:
            hosts = [_allowed(policy, one) for one in hosts]
        trouble = {one.located.host: one for one in hosts if one.trouble}
        kept = [candidate for candidate in candidates if candidate[0] not in trouble]
        if not kept:
            worst = trouble[candidates[0][0]]
            _tell(domain, worst, policy)
            return Failure(DEFERRED, "4.7.5", worst.trouble)
        demands = {one.located.host: one.demand for one in hosts}
        # A certificate that is good for one domain need not be for another that has the same hosts.
        alone = domain if any(demand and demand.others for demand in demands.values()) else b""
        targets = []
        for host, text in mx.dead_last(kept, self._is_dead):
            target = self._target(host, text, demands[host], is_sure=is_sure or host.name == domain)
            targets.append(self._under(policy, target, host) if policy is not None else target)
        return Found((is_sure, alone, policy, *sorted({host for host, _ in kept})), targets)

    def failed(self, address: Address) -> None:
        """There is no connection to this one, or none that takes mail."""
        if len(self._dead) >= DEAD_ADDRESSES:
            self._dead.clear()
        self._dead[address] = monotonic() + DEAD_S

    def answered(self, address: Address) -> None:
        """This one takes mail."""
        if self._dead:
            self._dead.pop(address, None)

    def _locate(self, host: Host, *, is_signed: bool) -> _Host:
        """The addresses of a host, and its TLSA records. Waits; both kinds of addresses are asked for at once.

        `is_signed`: what led to this host is.
        """
        asking = gevent.spawn(self._resolver.lookup, host.name, Type.AAAA)
        ipv4 = self._resolver.lookup(host.name, Type.A)
        ipv6 = asking.get()
        trouble = next((answer.reason for answer in (ipv4, ipv6) if answer.status is Status.FAILED), "")
        located = Located(host, ipv4.records, ipv6.records, trouble)
        known = [answer for answer in (ipv4, ipv6) if answer.status is Status.OK]
        if not (is_signed and known) or self._tls.level is Level.NONE:
            return _Host(located)
        return self._demand(located, known)

    def _demand(self, located: Located, known: list[Answer[str]]) -> _Host:
        """With the TLSA records of a host whose addresses are `known` (RFC 7672 section 2.2.2). Waits."""
        name = located.host.name
        names: list[bytes] = []
        if all(answer.authentic for answer in known):
            names = list(dict.fromkeys((known[0].canonical or name, name)))
        elif any(answer.canonical != name for answer in known):  # an alias may be signed, and what it is for not
            alias = self._resolver.lookup(name, Type.CNAME)
            if alias.status is Status.FAILED:
                return _Host(located, trouble=_untold("CNAME", name, alias.reason))
            names = [name] if alias.status is Status.OK and alias.authentic else []
        for one in names:
            answer = self._resolver.lookup(b"_%d._tcp.%b" % (self._port, one), Type.TLSA)
            if answer.status is Status.FAILED:
                return _Host(located, trouble=_untold("TLSA records", one, answer.reason))
            if answer.status is Status.OK and answer.authentic:
                return _Host(located, dane.Demand(one, dane.usable(answer.records, with_anchors=chain.is_available())))
        return _Host(located)

    def _target(self, host: Host, text: str, demand: dane.Demand | None, *, is_sure: bool) -> Target:
        name = host.name.decode("ascii", "backslashreplace")
        label = f"{name}:{self._port}" if name.startswith("[") else f"{name}[{text}]:{self._port}"
        certified = text if name.startswith("[") else name
        tls = self._tls.named(certified, is_sure=is_sure)
        if demand is None:
            return Target(self._address(text), label, tls)
        applied = tls_result.tlsa(demand.name, demand.records)
        return Target(self._address(text), label, tls.demanded(demand), applied)

    def _under(self, policy: Policy, target: Target, host: Host) -> Target:
        """A target as the policy of its domain wants it, unless DANE says what it gets."""
        if self._sts is None or target.tls.level is Level.DANE:
            return target
        name = host.name.decode("ascii", "backslashreplace")
        is_allowed = policy.allows(name)
        tls = target.tls
        if is_allowed:
            tls = tls.under_sts(self._sts.context, name, is_enforced=policy.mode is Mode.ENFORCE)
        return target._replace(tls=tls, applied=tls_result.sts(policy, is_allowed=is_allowed))

    def _address(self, text: str) -> Address:
        if ":" in text:
            return Address(socket.AF_INET6, (text, self._port, 0, 0))
        return Address(socket.AF_INET, (text, self._port))

    def _is_dead(self, text: str) -> bool:
        return bool(self._dead) and self._dead.get(self._address(text), 0.0) > monotonic()


def _allowed(policy: Policy, host: _Host) -> _Host:
    """A host of a domain whose policy is enforced: where it is not in it, that is trouble. DANE goes before."""
    name = host.located.host.name.decode("ascii", "backslashreplace")
    if host.trouble or (host.demand is not None and host.demand.records) or policy.allows(name):
        return host
    return host._replace(trouble=f"{name} is not in the MTA-STS policy of its domain")


def _tell(domain: bytes, host: _Host, policy: Policy | None) -> None:
    """Note that none of the hosts of a domain may get mail now, for reports."""
    name = domain.decode("ascii", "backslashreplace")
    mx_name = host.located.host.name.decode("ascii", "backslashreplace")
    if policy is not None and not policy.allows(mx_name):
        applied = tls_result.sts(policy, is_allowed=False)
        kind, reason = applied.trouble
        log.tls_result(
            name, "sts", name, kind, reason, host=mx_name, policy_text=applied.text, patterns=applied.patterns
        )
    else:
        log.tls_result(name, "tlsa", mx_name, tls_result.DNSSEC_INVALID, host.trouble, host=mx_name)


def _for_domain(host: _Host, domain: bytes, canonical: bytes) -> _Host:
    """A host whose authority may vouch for it by the name of its domain, or of what that is an alias for, as well."""
    if host.demand is None or not dane.has_anchors(host.demand.records):
        return host
    return host._replace(demand=host.demand._replace(others=(domain, canonical.lower())))


def _untold(what: str, name: bytes, reason: str) -> str:
    return f"cannot look up the {what} of {name.decode('ascii', 'backslashreplace')}: {reason}"


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
