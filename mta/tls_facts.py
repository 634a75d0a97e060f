"""What there is to tell about a TLS session: for the log, for the Received field."""

import msgspec


class TlsFacts(msgspec.Struct, frozen=True):
    """The outcome of a handshake. All texts are printable ASCII without blanks, whatever the client sent.

    `version` and `cipher` are OpenSSL's names (`TLSv1.3`, `TLS_AES_256_GCM_SHA384`), `bits` the secret bits of the
    cipher. `server_name` is what the client asked for (SNI), lower case, empty without. `client_fingerprint` is the
    SHA-256 of the client's certificate in hexadecimal, empty without one; `client_verified` tells whether it was issued
    by an authority of `tls.client_ca`. `resumed`: the session goes on from an earlier one, with its certificate.
    """

    version: str
    cipher: str
    bits: int
    server_name: str = ""
    client_fingerprint: str = ""
    client_verified: bool = False
    resumed: bool = False

    @property
    def comment(self) -> bytes:
        """For the Received field: one comment, or two with a fold between; no fold around them."""
        text = f"(using {self.version} with cipher {self.cipher} ({self.bits}/{self.bits} bits))"
        if self.client_fingerprint:
            verdict = "verified" if self.client_verified else "not verified"
            text += f"\r\n\t(client certificate SHA-256 {self.client_fingerprint} {verdict})"
        return text.encode("ascii")
