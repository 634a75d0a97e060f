"""Who may import whom: the table of ARCHITECTURE.md, held against the imports as they are."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mta"
SOURCES = sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyx")])

# What the modules at the top may use besides each other.
PROCESSES = ("server", "qmgr", "deliver", "supervisor", "admin")
GEVENT = ("gevent", "greenlet")
IO = (
    "socket",
    "ssl",
    "select",
    "selectors",
    "os",
    "io",
    "time",
    "threading",
    "asyncio",
    "subprocess",
    "signal",
)

PURE = (*GEVENT, *IO, "datetime", "random")

# For each package of ours, the modules of ours that it may import (itself apart); a package stands for all in it.
ALLOWED = {
    "smtp": ("errors", "fastparse"),
    "policy": ("smtp", "errors", "tables.key", "tables.targets"),
    "dsn": ("smtp.xtext",),
    "spool": ("errors", "envelope", "_pieces"),
    "dns": (),
    "tlsrpt": ("dns",),
    "tables": ("smtp.address", "errors", "networks", "endpoint", "pem", "record_lock", "regular_file"),
    "server": (
        *("smtp", "policy", "tables", "dns", "spool.writer", "spool.large", "spool.queueid"),
        *("child", "clients_file", "config", "envelope", "errors", "fastparse", "ipc", "log", "metrics"),
        *("config_access", "networks", "newlines", "pem", "record_lock", "routing", "sinks_file"),
        *("tls_facts", "tls_file"),
    ),
    "qmgr": (
        *("dsn", "spool", "child", "config", "drain", "envelope", "errors", "ipc", "log", "metrics", "routing"),
        "sinks_file",
    ),
    "deliver": (
        *("smtp.client", "smtp.client_mail", "smtp.client_reply", "spool"),
        *("child", "config", "endpoint", "envelope", "errors", "fastparse", "ipc", "log", "metrics", "newlines"),
        *("_pieces", "drain", "pem", "record_lock", "tls_facts"),
        *("dns", "smtp.address"),
    ),
    "supervisor": (
        *("child", "clients_file", "config", "config_load", "drain", "endpoint", "errors", "log", "metrics", "pem"),
        *("regular_file", "sinks_file", "tls_file"),
    ),
}

# The same for commands, which may use the supervisor as well.
COMMANDS = {"cli_offline": ("spool", "qmgr.store")}

# Foreign modules that a file may not import: by package, and for single files on top of that.
FORBIDDEN = {
    "smtp": (*GEVENT, *IO),
    "policy": (*GEVENT, *IO),
    "dsn": (*GEVENT, *IO),
    "spool": GEVENT,
    "qmgr": GEVENT,
    "supervisor": GEVENT,
    "": GEVENT,  # the modules at the top
}
FORBIDDEN_IN = {
    "deliver.mx": (*GEVENT, *IO, "datetime"),
    "deliver.dane": PURE,
    "deliver.sts_policy": PURE,
    **dict.fromkeys((f"dns.{name}" for name in ("name", "message", "answer", "cache", "upstreams", "settings")), PURE),
    **dict.fromkeys((f"tlsrpt.{name}" for name in ("record", "report", "mail")), (*GEVENT, *IO, "random")),
    "dns.exchange": ("time", "datetime", "random"),
    "dns.stub": ("time", "datetime"),
    **dict.fromkeys(
        (f"tables.{name}" for name in ("settings", "key", "text", "pattern_cost", "regexp", "cidr", "cache")), PURE
    ),
    **dict.fromkeys(
        (f"tables.{name}" for name in ("cached", "exchange", "socketmap", "redis", "watched", "lmdb", "http")),
        ("time", "datetime", "random"),
    ),
    **dict.fromkeys((f"tables.{name}" for name in ("lines", "lmdb_file", "lmdb_build", "extras")), (*GEVENT, "time")),
    **dict.fromkeys(("tables.answer", "tables.password"), PURE),
    "tables.threaded": ("time", "datetime", "random"),
    **dict.fromkeys(("tables.sql", "tables.ldap", "tables.sqlite"), (*GEVENT, "time", "datetime", "random")),
    "qmgr.scheduler": ("time", "datetime", "random"),
    "qmgr.pacing": ("time", "datetime", "random"),
}


def module_name(path: Path) -> str:
    """`smtp.session` for mta/smtp/session.py; a package is named without `__init__`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {module_name(path): path for path in SOURCES}


def imports(path: Path) -> set[str]:
    """Full names of what a file imports at run time (`mta.smtp.replies`, `time`); not what only types need."""
    text = path.read_text()
    if path.suffix == ".pyx":
        found = re.findall(r"^\s*(?:from|import|cimport)\s+([\w.]+)", text, re.MULTILINE)
        return {name for name in found if not name.startswith(("cpython", "libc", "posix", "cython"))}
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            module = node.module or ""
            names.add(module)
            names |= {f"{module}.{alias.name}" for alias in node.names if _is_ours(f"{module}.{alias.name}")}
    return names


def _is_ours(name: str) -> bool:
    return name.removeprefix("mta.") in NAMES and name.startswith("mta.")


def _covers(rule: str, name: str) -> bool:
    return name == rule or name.startswith(rule + ".")


@pytest.mark.parametrize("name", NAMES)
def test_ours(name: str) -> None:
    package = name.partition(".")[0] if "." in name or (PACKAGE / name).is_dir() else ""
    used = {found.removeprefix("mta.") for found in imports(NAMES[name]) if found.startswith("mta.")}
    if package:
        rules = (package, *ALLOWED[package])
        # `from mta.spool import queueid` names the package, too, which holds no code.
        containers = {rule.rpartition(".")[0] for rule in rules}
        wrong = {other for other in used if not any(_covers(rule, other) for rule in rules) and other not in containers}
    elif name == "__main__" or name.startswith("cli"):
        more = COMMANDS.get(name, ())
        wrong = {
            other
            for other in used
            if any(_covers(part, other) for part in (*PROCESSES, "spool", "policy"))
            and not any(_covers(rule, other) or rule.startswith(f"{other}.") for rule in ("supervisor", *more))
        }
    else:
        wrong = {other for other in used if any(_covers(part, other) for part in (*PROCESSES, "spool", "policy"))}
    assert not wrong, f"mta.{name} must not import {sorted(wrong)}"


@pytest.mark.parametrize("name", NAMES)
def test_foreign(name: str) -> None:
    package = name.partition(".")[0] if "." in name or (PACKAGE / name).is_dir() else ""
    rules = (*FORBIDDEN.get(package, ()), *FORBIDDEN_IN.get(name, ()))
    wrong = {found for found in imports(NAMES[name]) if any(_covers(rule, found) for rule in rules)}
    assert not wrong, f"mta.{name} must not import {sorted(wrong)}"


def test_the_table_is_whole() -> None:
    packages = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert packages <= ALLOWED.keys()
    for file in FORBIDDEN_IN:
        assert file in NAMES or not packages, f"mta.{file} is gone"


def test_no_cycles() -> None:
    graph = {
        name: {found.removeprefix("mta.") for found in imports(path) if _is_ours(found)} - {name}
        for name, path in NAMES.items()
    }
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"modules import each other: {' -> '.join(error.args[1])}")
