"""Real name servers: NSD with zones of the test's own, some signed with ldns's tools, and Unbound, which validates.

NSD answers for its zones alone; Unbound asks it, and nobody else.
"""

import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.front import need
from tests.support.program import Program
from tests.support.server import HOST, free_port

START = """\
$ORIGIN {name}.
$TTL 300
@ IN SOA ns.{name}. admin.{name}. 1 7200 900 1209600 60
@ IN NS ns.{name}.
ns IN A 127.0.0.1
"""

NSD = """\
server:
  ip-address: {host}@{port}
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  database: ""
  pidfile: "{folder}/nsd.pid"
  zonelistfile: "{folder}/zone.list"
  xfrdfile: "{folder}/xfrd.state"
  server-count: 1
remote-control:
  control-enable: no
"""
NSD_ZONE = """\
zone:
  name: "{name}"
  zonefile: "{file}"
"""

UNBOUND = """\
server:
  interface: {host}@{port}
  access-control: 127.0.0.0/8 allow
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  do-not-query-localhost: no
  num-threads: 1
  ede: yes
  module-config: "validator iterator"
  local-zone: "." refuse
remote-control:
  control-enable: no
"""
UNBOUND_ANCHOR = '  trust-anchor-file: "{file}"\n'
UNBOUND_ZONE = """\
stub-zone:
  name: "{name}"
  stub-addr: {host}@{port}
"""


class Zone:
    """A zone: its records behind SOA and NS, in the form of a zone file; whether it is signed.

    `is_bogus`: its signatures are fine, but by another key than the one that Unbound is told of.
    """

    def __init__(self, text: str, *, is_signed: bool = False, is_bogus: bool = False) -> None:
        self.text = text
        self.is_signed = is_signed or is_bogus
        self.is_bogus = is_bogus


class Running(Program):
    """One of them."""

    def __init__(self, command: Sequence[str], folder: Path, port: int) -> None:
        self.name = Path(command[0]).name
        super().__init__(command, folder / f"{self.name}.log", port)

    @property
    def address(self) -> str:
        """As our settings name it."""
        return f"{HOST}:{self.port}"

    def reload(self) -> None:
        """Have it read its files again."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)


def sign(tools: str, folder: Path, name: str) -> Path:
    """Sign the zone file of that name; the signed one is beside it. Returns the file with the key that is trusted."""

    def run(program: str, *arguments: str) -> str:
        command = [f"{tools}/{program}", *arguments]
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()

    keys = [run("ldns-keygen", "-a", "ECDSAP256SHA256", *kind, name) for kind in (("-k",), ())]
    run("ldns-signzone", "-f", f"{name}.zone.signed", f"{name}.zone", *keys)
    return folder / f"{keys[0]}.ds"


def authority(nsd: str, tools: str, folder: Path, zones: Mapping[str, Zone]) -> tuple[Running, list[Path]]:
    """NSD for these zones, and the files with the keys by which they are signed."""
    port = free_port()
    anchors = []
    text = NSD.format(host=HOST, port=port, folder=folder)
    for name, zone in zones.items():
        file = folder / f"{name}.zone"
        file.write_text(START.format(name=name) + zone.text)
        if zone.is_signed:
            anchor = sign(tools, folder, name)
            if zone.is_bogus:
                (folder / f"{name}.zone.signed").unlink()
                sign(tools, folder, name)
            anchors.append(anchor)
            file = folder / f"{name}.zone.signed"
        text += NSD_ZONE.format(name=name, file=file)
    configuration = folder / "nsd.conf"
    configuration.write_text(text)
    return Running([nsd, "-d", "-c", str(configuration)], folder, port), anchors


def validator(
    unbound: str, folder: Path, port: int, zones: Mapping[str, Zone], behind: int, anchors: Sequence[Path]
) -> Running:
    """Unbound, which asks the name server on the port `behind` for these zones."""
    text = UNBOUND.format(host=HOST, port=port, folder=folder)
    head, _, tail = text.partition("remote-control:")
    head += "".join(UNBOUND_ANCHOR.format(file=file) for file in anchors)
    head += "".join(f'  local-zone: "{name}" transparent\n' for name in zones)
    text = f"{head}remote-control:{tail}"
    text += "".join(UNBOUND_ZONE.format(name=name, host=HOST, port=behind) for name in zones)
    configuration = folder / "unbound.conf"
    configuration.write_text(text)
    return Running([unbound, "-d", "-p", "-c", str(configuration)], folder, port)


class Servers(NamedTuple):
    """What runs: who knows, and who validates."""

    nsd: Running
    unbound: Running


@contextmanager
def resolving(folder: Path, zones: Mapping[str, Zone]) -> Iterator[Servers]:
    """Both, for these zones. Skips the test where they are not installed."""
    nsd, anchors = authority(need("nsd"), str(Path(need("ldns-signzone")).parent), folder, zones)
    with nsd, validator(need("unbound"), folder, free_port(), zones, nsd.port, anchors) as unbound:
        yield Servers(nsd, unbound)
