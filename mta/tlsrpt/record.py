"""Where a domain wants its reports: the record at `_smtp._tls` (RFC 8460 section 3)."""

import re
from collections.abc import Iterable
from urllib.parse import unquote

URIS = 8  # of one domain; more are passed over

_VERSION = b"v=TLSRPTv1;"
_EXTENSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}=[!-:<>-~]+")
_URI = re.compile(r"(?:mailto:|https://)[!-+\--:<-~]+")  # neither a comma nor a semicolon
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


def places(texts: Iterable[bytes]) -> tuple[str, ...]:
    """The URIs of the one TLSRPT record among the TXT records of a name; none where there is none that counts."""
    found = [text for text in texts if text.startswith(_VERSION)]
    if len(found) != 1:
        return ()
    uris: list[str] | None = None
    for field in found[0].decode("ascii", "replace").strip(" \t").removesuffix(";").split(";")[1:]:
        key, _, value = field.strip(" \t").partition("=")
        if key == "rua" and uris is None:
            uris = [uri.strip(" \t") for uri in value.split(",")]
        elif not _EXTENSION.fullmatch(f"{key}={value}"):
            return ()
    if not uris or not all(map(_URI.fullmatch, uris)):
        return ()
    return tuple(dict.fromkeys(uris))[:URIS]


def address(uri: str) -> str | None:
    """The address of a `mailto:` URI (RFC 6068 section 2); None where it is another URI, or none that mail goes to."""
    scheme, _, rest = uri.partition(":")
    found = unquote(rest.partition("?")[0], errors="replace")
    return found if scheme == "mailto" and _ADDRESS.fullmatch(found) else None
