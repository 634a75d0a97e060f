"""The certificate that both servers show, and their settings for it: ECDSA P-256, made anew for each case."""

from pathlib import Path
from typing import Any

from tests.support.certificates import Authority, Pair


def make(folder: Path) -> Pair:
    """A certificate and its key, files under `folder`, from an authority that nobody knows."""
    return Authority(folder / "certificates").server("mx.example.org", kind="ecdsa")


def postfix_settings(pair: Pair) -> dict[str, str]:
    """The part of main.cf. All else, tlsmgr and its session tickets too, is as Postfix ships it."""
    return {"smtpd_tls_security_level": "may", "smtpd_tls_chain_files": f"{pair.key}, {pair.certificate}"}


def mta_settings(pair: Pair) -> dict[str, Any]:
    """The part of mta.toml. Listeners offer STARTTLS by default where there is a certificate."""
    return {"tls": {"certificate": str(pair.certificate), "key": str(pair.key)}}
