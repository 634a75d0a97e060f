"""A private OpenLDAP server in a folder of its own, in the foreground, with an entry for each mailbox it is given."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.certificates import Pair
from tests.support.front import PEERS
from tests.support.program import PASSWORD, Program
from tests.support.server import HOST, free_port

BASE = "ou=people,dc=example,dc=org"
MANAGER = "cn=manager,dc=example,dc=org"

CONFIGURATION = """\
include {root}/etc/ldap/schema/core.schema
include {root}/etc/ldap/schema/cosine.schema
include {root}/etc/ldap/schema/inetorgperson.schema
modulepath {root}/usr/lib/ldap
moduleload back_mdb
pidfile {folder}/slapd.pid
{tls}database mdb
maxsize 16777216
dbnosync
directory {folder}/data
suffix "dc=example,dc=org"
rootdn "{manager}"
rootpw "{password}"
index mail eq
sizelimit 2000
{more}
"""
TREE = """\
dn: dc=example,dc=org
objectClass: domain
dc: example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people
"""


class Slapd(Program):
    """Runs from entry to exit. `entries` are names and the values of their attributes (`mail`, `description`, ...).

    `more` are further lines of its configuration. With a certificate it speaks TLS: from the first byte on a port of
    its own, and after StartTLS.
    """

    name = "slapd"

    def __init__(
        self,
        folder: Path,
        entries: Mapping[str, Mapping[str, Sequence[str]]],
        *,
        pair: Pair | None = None,
        more: str = "",
    ) -> None:
        self._root = _root()
        port, tls_port = free_port(), free_port()
        self._environment = {
            **os.environ,
            "LD_LIBRARY_PATH": ":".join(str(found.parent) for found in self._root.glob("usr/lib/*/libslapi*.so.0")),
        }
        self.ldap = f"ldap://{HOST}:{port}"
        self.ldaps = f"ldaps://{HOST}:{tls_port}"
        self.ldapi = f"ldapi://{quote(str(folder / 'slapd.sock'), safe='')}"
        (folder / "data").mkdir()
        tls = f"TLSCertificateFile {pair.certificate}\nTLSCertificateKeyFile {pair.key}\n" if pair is not None else ""
        self._configuration = folder / "slapd.conf"
        self._configuration.write_text(
            CONFIGURATION.format(
                root=self._root if self._root != Path("/") else "",
                folder=folder,
                tls=tls,
                manager=MANAGER,
                password=PASSWORD,
                more=more,
            )
        )
        self._load(entries)
        listeners = [self.ldap, self.ldapi, *([self.ldaps] if pair is not None else [])]
        command = [self._program("slapd"), "-f", str(self._configuration), "-h", " ".join(listeners), "-d", "0"]
        super().__init__(command, folder / "slapd.log", port, env=self._environment)

    def _program(self, name: str) -> str:
        return str(self._root / "usr/sbin" / name)

    def _load(self, entries: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
        text = TREE
        for name, attributes in entries.items():
            text += f"\ndn: cn={name},{BASE}\nobjectClass: inetOrgPerson\ncn: {name}\nsn: {name}\n"
            text += "".join(f"{key}: {value}\n" for key, values in attributes.items() for value in values)
        subprocess.run(
            [self._program("slapadd"), "-q", "-f", str(self._configuration)],
            input=text.encode(),
            check=True,
            capture_output=True,
            env=self._environment,
        )


def _root() -> Path:
    """Where its package lies; skips the test where it is nowhere."""
    for root in (PEERS, Path("/")):
        if (root / "usr/sbin/slapd").exists():
            return root
    pytest.skip("slapd is not installed: make peers")
