"""A recipient whose transport is full is put off; others are not, and nobody asks where nothing can be full."""

import os

import pytest

from mta import sinks_file
from mta.config import Config, Domains, Listen, Route, Transport
from mta.policy.chain import Chain
from mta.server.complaints import Complaints
from mta.server.directory import Directory, needs_routing
from mta.server.sinks import Sinks
from mta.sinks_file import Writer
from mta.smtp import replies
from mta.smtp.events import Recipient
from mta.tables.book import Book


def ignore(words: str, **fields: object) -> None:
    """Nobody reads it."""


def make_config(limit: int = 10, **routes: str) -> Config:
    return Config(
        hostname="mx.example.org",
        spool="spool",
        listen=[Listen("127.0.0.1:25")],
        domains=Domains(["slow.example", "fast.example", "copied.example"]),
        transport={
            "slow": Transport("discard", queue_limit=limit),
            "fast": Transport("discard"),
        },
        route=[
            Route(["*@slow.example"], "slow"),
            *([Route(["*@copied.example"], "fast", copy_to=["slow"])] if limit else []),
            Route(["*"], "fast"),
        ],
    )


@pytest.mark.parametrize("full", [(), ("slow",), ("slow", "another"), ("fast",)])
def test_recipients_of_a_full_transport_are_put_off(full: tuple[str, ...]) -> None:
    config = make_config()
    fd = sinks_file.create()
    sinks = Sinks(fd, config)
    directory = Directory(config, Book({}, ignore), Complaints(ignore, float), sinks)
    chain = Chain(directory.domains, bare_newlines="keep", hops=40, header_bytes=4096)
    recipients = directory.make(chain, "127.0.0.1:25")
    Writer(fd).write(full)
    for domain, is_put_off in ((b"slow", "slow" in full), (b"fast", False), (b"copied", "slow" in full)):
        found = recipients.expand(Recipient(b"a", domain + b".example"), b"from@example.com")
        assert (found == replies.R451_SINK_FULL) == is_put_off  # fast has no limit, so it is never full
    Writer(fd).write(())
    assert recipients.expand(Recipient(b"a", b"slow.example"), b"") != replies.R451_SINK_FULL
    os.close(fd)


def test_the_routes_are_asked_only_where_something_can_be_full() -> None:
    assert needs_routing(make_config())
    assert not needs_routing(make_config(limit=0))
