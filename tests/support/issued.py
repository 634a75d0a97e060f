"""The certificates that tests with real programs share."""

import hashlib
import ssl
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.certificates import Authority, Pair


class Issued(NamedTuple):
    """Certificates of one authority: for mx.example.org with both kinds of key, for another name, and a client's."""

    authority: Authority
    ecdsa: Pair
    rsa: Pair
    other: Pair
    client: Pair

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the client's certificate, in hexadecimal."""
        end = "-----END CERTIFICATE-----"
        first = self.client.certificate.read_text().partition(end)[0] + end  # its chain follows
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).hexdigest()

    @property
    def ca(self) -> str:
        """The file with the authority's own certificate."""
        return str(self.authority.ca)

    @property
    def tls(self) -> dict[str, Any]:
        """The [tls] of a server that has them all."""
        return {
            "certificate": str(self.ecdsa.certificate),
            "key": str(self.ecdsa.key),
            "client_ca": self.ca,
            "extra": [{"certificate": str(pair.certificate), "key": str(pair.key)} for pair in (self.rsa, self.other)],
        }


def issue(folder: Path) -> Issued:
    """Make them, in `folder`. Takes some 200 ms."""
    authority = Authority(folder)
    return Issued(
        authority,
        authority.server("mx.example.org"),
        authority.server("mx.example.org", kind="rsa"),
        authority.server("mail.example.net"),
        authority.client("client.example.net"),
    )
