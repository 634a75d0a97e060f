"""Certificates of every kind, with chains of authorities: what trustme, made for good ones, does not make."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.support.certificates import Pair

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


class Maker:
    """A certificate with its key; what it issues is a `Maker`, too."""

    def __init__(
        self,
        name: str,
        issuer: "Maker | None" = None,
        *,
        names: tuple[str, ...] = (),
        is_authority: bool = True,
        begins: datetime = NOW - DAY,
        ends: datetime = NOW + DAY,
        use: x509.ObjectIdentifier | None = None,
        digest: hashes.HashAlgorithm | None = None,
        path_length: int | None = None,
    ) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        by = issuer or self
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(by.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(is_authority, path_length if is_authority else None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), False)
        if use is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        self.der = builder.sign(by.key, digest or hashes.SHA256()).public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return x509.load_der_x509_certificate(self.der).public_bytes(Encoding.PEM)


def written(folder: Path, server: Maker, *others: Maker) -> Pair:
    """Files for a server that sends its own certificate, and the others."""
    folder.mkdir(parents=True, exist_ok=True)
    pair = Pair(folder / "chain.pem", folder / "key.pem")
    pair.certificate.write_bytes(b"".join(one.pem for one in (server, *others)))
    pair.key.write_bytes(server.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return pair
