"""What TLSA records demand of a server's certificate (RFC 7672), and whether it has it. Pure.

Of the usages, DANE-EE(3) is understood: the record names the server's own certificate, or its key, and that is all that
counts: neither the name in the certificate nor its dates (RFC 7672 section 3.1.1). The records with PKIX-TA(0) and
PKIX-EE(1) are not for SMTP (RFC 7672 section 3.1.3). Those with DANE-TA(2) are treated as unusable, too: to build the
chain to an authority that only the record names is not what Python's `ssl` can be told to do. Where there are records
and none can be used, TLS is demanded all the same, with any certificate (RFC 7672 section 2.2).
"""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from mta.dns.message import Tlsa

DANE_EE = 3
CERTIFICATE, PUBLIC_KEY = 0, 1  # selectors
EXACT, SHA_256, SHA_512 = 0, 1, 2  # matching types
RECORDS = 32  # of one host that are looked at; those that change their keys have some four

_DIGEST_BYTES = {SHA_256: 32, SHA_512: 64}
_SEQUENCE, _VERSION = 0x30, 0xA0


class Demand(NamedTuple):
    """What a host's records demand: TLS as `name`, with a certificate that one of the `records` matches.

    Without records any certificate will do.
    """

    name: bytes
    records: tuple[Tlsa, ...]


def usable(records: Iterable[Tlsa]) -> tuple[Tlsa, ...]:
    """Those records that can be used, in their order."""
    return tuple(record for record in records if _is_usable(record))[:RECORDS]


def is_matched(records: Iterable[Tlsa], certificate: bytes) -> bool:
    """Whether a certificate (DER) is what one of these usable records names."""
    return any(_matches(record, certificate) for record in records)


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
    if record.usage != DANE_EE or record.selector not in (CERTIFICATE, PUBLIC_KEY):
        return False
    if record.matching == EXACT:
        return bool(record.data)
    return len(record.data) == _DIGEST_BYTES.get(record.matching, -1)


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
