"""Certificates for tests, made on the spot: an authority, and what it issues."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

import trustme

Kind = Literal["ecdsa", "rsa"]

PAST = datetime(2001, 1, 1, tzinfo=UTC)
LONG_PAST = datetime(2000, 1, 1, tzinfo=UTC)


class Pair(NamedTuple):
    """A certificate with its chain, and its key: PEM files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority whose files are in `folder`; `ca` is its own certificate. Making one takes a while
    (some 10 ms, an RSA key 100 ms), so tests share one where they can."""

    def __init__(self, folder: Path, name: str = "Test authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._authority = trustme.CA(organization_name=name)
        self._count = 0
        self.ca = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca))

    def server(self, *names: str, kind: Kind = "ecdsa") -> Pair:
        """A certificate for DNS names (`*.example.org` is one) or IP addresses; mx.example.org if none is given."""
        return self._issue(names or ("mx.example.org",), kind)

    def expired(self, *names: str, kind: Kind = "ecdsa") -> Pair:
        """As `server`, but no longer valid."""
        return self._issue(names or ("mx.example.org",), kind, is_expired=True)

    def client(self, name: str = "client.example.net", kind: Kind = "ecdsa") -> Pair:
        """A certificate that a client may show."""
        return self._issue((name,), kind)

    def _issue(self, names: tuple[str, ...], kind: Kind, *, is_expired: bool = False) -> Pair:
        issued = self._authority.issue_cert(
            *names,
            not_before=LONG_PAST if is_expired else None,
            not_after=PAST if is_expired else None,
            key_type=trustme.KeyType.RSA if kind == "rsa" else trustme.KeyType.ECDSA,
        )
        self._count += 1
        pair = Pair(self._folder / f"{self._count}.pem", self._folder / f"{self._count}.key")
        pair.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        pair.key.write_bytes(issued.private_key_pem.bytes())
        return pair
