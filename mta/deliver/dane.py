"""What TLSA records demand of a server's certificate (RFC 7672), and whether it has it. Pure.

With the usage DANE-EE(3) a record names the server's own certificate, or its key, and that is all that counts: neither
the name in the certificate nor its dates (RFC 7672 section 3.1.1). With DANE-TA(2) it names an authority, whose
certificate the server sends along, unless the whole of it stands in the record: that has to vouch for the server's own
certificate, which has to be for the name that has the records, or for the domain that mail is for, and dates count
(RFC 7672 section 3.2.2; `mta.deliver.chain`). One record that fits is enough; DANE-EE, which costs less, goes first.

The records with PKIX-TA(0) and PKIX-EE(1) are not for SMTP (RFC 7672 section 3.1.3). Where there are records and none
can be used, TLS is demanded all the same, with any certificate (RFC 7672 section 2.2).
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mta.dns.message import Tlsa

DANE_TA, DANE_EE = 2, 3
CERTIFICATE, PUBLIC_KEY = 0, 1  # selectors
EXACT, SHA_256, SHA_512 = 0, 1, 2  # matching types
RECORDS = 32  # of one host that are looked at; those that change their keys have some four

_DIGEST_BYTES = {SHA_256: 32, SHA_512: 64}
_SEQUENCE, _VERSION = 0x30, 0xA0


class Demand(NamedTuple):
    """What a host's records demand: TLS as `name`, with a certificate that one of the `records` matches.

    Without records any certificate will do. `others` are names that count for an authority's certificates, besides.
    """

    name: bytes
    records: tuple[Tlsa, ...]
    others: tuple[bytes, ...] = ()


def usable(records: Iterable[Tlsa], *, with_anchors: bool = True) -> tuple[Tlsa, ...]:
    """Those records that can be used, in their order; of those with DANE-TA none unless `with_anchors`.

    Of the digests that a usage and selector have only the strongest counts, so that a host can publish a new one beside
    an old one that is weak by now (RFC 7671 section 9).
    """
    usages = (DANE_TA, DANE_EE) if with_anchors else (DANE_EE,)
    known = [record for record in records if record.usage in usages and _is_usable(record)][:RECORDS]
    strongest: dict[tuple[int, int], int] = {}
    for record in known:
        kind = (record.usage, record.selector)
        strongest[kind] = max(record.matching, strongest.get(kind, EXACT))  # the numbers rise with strength
    return tuple(one for one in known if one.matching in (EXACT, strongest[one.usage, one.selector]))


def is_matched(records: Iterable[Tlsa], certificate: bytes) -> bool:
    """Whether a certificate (DER) is what one of these usable records names by DANE-EE."""
    return any(record.usage == DANE_EE and _matches(record, certificate) for record in records)


def has_anchors(records: Iterable[Tlsa]) -> bool:
    """Whether one of the records has DANE-TA."""
    return any(record.usage == DANE_TA for record in records)


def anchors(records: Sequence[Tlsa], certificates: Sequence[bytes]) -> list[bytes]:
    """The authorities that usable records name by DANE-TA, as far as they are known.

    Found among the `certificates` (DER) that the server sent, its own, the first, apart; and in the records themselves.
    """
    named = [record for record in records if record.usage == DANE_TA]
    found = [one for one in certificates[1:] if any(_matches(record, one) for record in named)]
    whole = [record.data for record in named if record.selector == CERTIFICATE and record.matching == EXACT]
    return list(dict.fromkeys(found + whole))


def public_key(certificate: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a certificate, both in DER (RFC 5280 section 4.1).

    Raises `ValueError` where the bytes have no such form.
    """
    _, start, end = _element(certificate, 0, len(certificate))  # Certificate
    _, at, end = _element(certificate, start, end)  # TBSCertificate
    tag, _, behind = _element(certificate, at, end)
    if tag == _VERSION:
        at = behind
    for _ in ("serialNumber", "signature", "issuer", "validity", "subject"):
        _, _, at = _element(certificate, at, end)
    tag, _, behind = _element(certificate, at, end)
    if tag != _SEQUENCE:
        raise ValueError("no public key where it belongs")
    return certificate[at:behind]


def _is_usable(record: Tlsa) -> bool:
    if record.selector not in (CERTIFICATE, PUBLIC_KEY):
        return False
    if record.matching == EXACT:
        return bool(record.data) and (record.usage == DANE_EE or _is_whole(record))
    return len(record.data) == _DIGEST_BYTES.get(record.matching, -1)


def _is_whole(record: Tlsa) -> bool:
    """Whether the data could be a certificate, or a key."""
    try:
        if record.selector == CERTIFICATE:
            public_key(record.data)
        return _element(record.data, 0, len(record.data))[2] == len(record.data)
    except ValueError:
        return False


def _matches(record: Tlsa, certificate: bytes) -> bool:
    selected = certificate
    if record.selector == PUBLIC_KEY:
        try:
            selected = public_key(certificate)
        except ValueError:
            return False
    if record.matching == SHA_256:
        selected = hashlib.sha256(selected).digest()
    elif record.matching == SHA_512:
        selected = hashlib.sha512(selected).digest()
    return selected == record.data


def _element(data: bytes, at: int, limit: int) -> tuple[int, int, int]:
    """The element at `at`: its tag, where its content begins and where it ends. Raises `ValueError`."""
    if at + 2 > limit:
        raise ValueError("cut off")
    tag, length = data[at], data[at + 1]
    start = at + 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4 or start + count > limit:
            raise ValueError("a length that is none")
        length = int.from_bytes(data[start : start + count], "big")
        start += count
    if start + length > limit:
        raise ValueError("cut off")
    return tag, start, start + length
