"""Mailbox paths: below the root whatever the recipient, and one for each recipient."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.deliver.disk import Disk
from mta.deliver.mailbox import Layout, Mailboxes, encoded, open_root, split
from mta.errors import ConfigError

LAYOUT = Layout("/mail/{domain}/{local}", "home.example")
ANY = st.binary(max_size=80) | st.text(alphabet='./\\"%-~ aA\0', max_size=70).map(str.encode)


@pytest.mark.parametrize(
    ("recipient", "folders"),
    [
        (b"joe@example.org", ("example.org", "joe")),
        (b"Joe.Doe+tag@Example.ORG", ("example.org", "joe.doe+tag")),
        (b'"joe"@example.org', ("example.org", "joe")),
        (b'"joe doe"@example.org', ("example.org", "joe%20doe")),
        (b'"a\\"b"@example.org', ("example.org", "a%22b")),
        (b'"a@b"@example.org', ("example.org", "a%40b")),
        (b'".."@example.org', ("example.org", "%2e.")),
        (b'"../../etc"@example.org', ("example.org", "%2e.%2f..%2fetc")),
        (b'""@example.org', ("example.org", "%")),
        (b"postmaster", ("home.example", "postmaster")),
        (b"joe@[127.0.0.1]", ("%5b127.0.0.1%5d", "joe")),
        ("jürgen@bücher.example".encode(), ("b%c3%bccher.example", "j%c3%bcrgen")),
        (b"100%@example.org", ("example.org", "100%25")),
        (b"a@..", ("%2e.", "a")),
    ],
)
def test_folders(recipient: bytes, folders: tuple[str, ...]) -> None:
    assert LAYOUT.folders(recipient) == folders


@given(ANY, ANY)
def test_every_name_is_safe(local: bytes, domain: bytes) -> None:
    for name in LAYOUT.folders(local + b"@" + domain):
        assert re.fullmatch(r"[a-z0-9_+=%-][a-z0-9._+=%-]{0,119}", name)


@given(ANY, ANY)
def test_distinct_values_have_distinct_names(one: bytes, other: bytes) -> None:
    assert (encoded(one) == encoded(other)) == (one.lower() == other.lower())


@given(st.binary(min_size=115, max_size=130), st.binary(min_size=1, max_size=10))
def test_long_values_stay_distinct(value: bytes, more: bytes) -> None:
    long = value + more
    assert len(encoded(long)) <= 120
    assert (encoded(long) == encoded(value)) == (long.lower() == value.lower())


@given(ANY, ANY)
def test_distinct_recipients_have_distinct_folders(one: bytes, other: bytes) -> None:
    def normal(recipient: bytes) -> tuple[bytes, bytes]:
        local, domain = split(recipient)
        return local.lower(), domain.lower() or b"home.example"

    assert (LAYOUT.folders(one) == LAYOUT.folders(other)) == (normal(one) == normal(other))


@pytest.mark.parametrize(
    ("template", "root", "folders"),
    [
        ("/mail/{domain}/{local}/Maildir", "/mail", ("example.org", "joe", "Maildir")),
        ("/mail/box-{local}@{domain}", "/mail", ("box-joe@example.org",)),
        ("/mail/all", "/mail/all", ()),
    ],
)
def test_templates(template: str, root: str, folders: tuple[str, ...]) -> None:
    layout = Layout(template, "home.example")
    assert layout.root == root
    assert layout.folders(b"joe@example.org") == folders


def test_template_that_climbs_is_refused() -> None:
    with pytest.raises(ConfigError):
        Layout("/mail/{domain}/../{local}", "home.example")


def test_folders_are_made_private_and_once(tmp_path: Path) -> None:
    layout = Layout(f"{tmp_path}/mail/{{domain}}/{{local}}", "home.example")
    root_fd = open_root(layout.root)
    mailboxes = Mailboxes(Disk(), layout, root_fd)
    assert mailboxes.open(b"joe@example.org") is mailboxes.open(b"JOE@example.org")
    mailboxes.open(b"jim@example.org")
    mailbox = tmp_path / "mail/example.org/joe"
    assert sorted(path.name for path in mailbox.iterdir()) == ["cur", "new", "tmp"]
    assert {path.stat().st_mode & 0o777 for path in (mailbox, mailbox / "new", mailbox.parent)} == {0o700}
    assert len(mailboxes.changed) == 5  # root, domain and both mailboxes (domain twice)
    mailboxes.close()
    os.close(root_fd)


@pytest.mark.parametrize("where", ["example.org", "example.org/joe", "example.org/joe/tmp", "example.org/joe/new"])
def test_symbolic_links_below_the_root_are_not_followed(tmp_path: Path, where: str) -> None:
    layout = Layout(f"{tmp_path}/mail/{{domain}}/{{local}}", "home.example")
    outside = tmp_path / "outside"
    for name in ("tmp", "new", "cur", "joe/tmp", "joe/new"):
        (outside / name).mkdir(parents=True)
    link = tmp_path / "mail" / where
    link.parent.mkdir(parents=True, exist_ok=True)
    if where.endswith("new"):
        (link.parent / "tmp").mkdir()
    link.symlink_to(outside)
    root_fd = open_root(layout.root)
    mailboxes = Mailboxes(Disk(), layout, root_fd)
    with pytest.raises(NotADirectoryError):
        mailboxes.open(b"joe@example.org")
    mailboxes.close()
    os.close(root_fd)
