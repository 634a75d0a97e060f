"""The configuration: frozen structs, one declaration per key.

Each field carries its description, unit and bounds; from these come the check, the commented `conf/mta.toml` and the
reference in `docs/configuration.md`. Reading and checking a file is `mta.config_load`; this module is what the rest of
the program passes around. Relative paths have been made absolute (against the folder of the file) by then.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Seconds = Annotated[float, Meta(gt=0, le=31_536_000)]
Bytes = Annotated[int, Meta(ge=1)]


class Processes(Struct, frozen=True, forbid_unknown_fields=True):
    """How many processes of each role."""

    server: Annotated[int, Meta(ge=0, le=256, description="SMTP workers; 0 is one per core")] = 0
    deliver: Annotated[int, Meta(ge=1, le=64, description="delivery workers")] = 1


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds on what a client may use."""

    message_bytes: Annotated[Bytes, Meta(description="largest message, announced as SIZE (RFC 1870), in bytes")] = (
        52428800
    )
    recipients: Annotated[
        Count, Meta(description="recipients per message; at least 100 (RFC 5321 section 4.5.3.1.8)")
    ] = 1000
    connections: Annotated[Count, Meta(description="open connections per worker; one more gets 421")] = 20000
    memory_bytes: Annotated[
        int, Meta(ge=1048576, description="message bytes a worker holds before they are on disk; over it, 452")
    ] = 268435456
    large_bytes: Annotated[
        int, Meta(ge=4096, description="messages over this many bytes stream to a file of their own")
    ] = 262144
    command_timeout_s: Annotated[
        Seconds, Meta(description="wait for a command, in seconds (RFC 5321 section 4.5.3.2.7: at least 5 minutes)")
    ] = 300.0
    data_timeout_s: Annotated[
        Seconds, Meta(description="wait for the next piece of a message, in seconds (RFC 5321 section 4.5.3.2.5)")
    ] = 180.0
    errors: Annotated[Count, Meta(description="refused commands in a session before 421 and the end")] = 20


class Listen(Struct, frozen=True, forbid_unknown_fields=True):
    """An address to take mail on."""

    address: Annotated[
        str, Meta(description='IP address and port: "127.0.0.1:2525" or "[::]:25"', examples=["0.0.0.0:25"])
    ]
    bare_newlines: Annotated[
        Literal["refuse", "keep"],
        Meta(description="messages with a CR or LF outside CR LF: refuse them with 550, or keep them as they are"),
    ] = "refuse"


class Domains(Struct, frozen=True, forbid_unknown_fields=True):
    """Which domains we take mail for."""

    local: Annotated[
        list[str],
        Meta(
            description="accepted recipient domains; mail for any other is refused, never relayed",
            examples=[["example.org"]],
        ),
    ] = field(default_factory=list)


class Queue(Struct, frozen=True, forbid_unknown_fields=True):
    """When to try again, and when to give up."""

    retry_min_s: Annotated[
        Seconds, Meta(description="wait before the second attempt, in seconds; doubles each time")
    ] = 300.0
    retry_max_s: Annotated[Seconds, Meta(description="longest wait between attempts, in seconds")] = 4000.0
    lifetime_s: Annotated[Seconds, Meta(description="age at which a message is given up, in seconds")] = 432000.0
    active: Annotated[Count, Meta(description="messages the queue manager holds in memory at once")] = 20000


class Transport(Struct, frozen=True, forbid_unknown_fields=True):
    """A way to hand messages on."""

    kind: Annotated[
        Literal["maildir", "lmtp", "smtp", "discard"], Meta(description="what it does", examples=["maildir"])
    ]
    path: Annotated[
        str,
        Meta(
            description="maildir: the folder, with {domain} and {local} of the recipient",
            examples=["/var/mail/{domain}/{local}"],
        ),
    ] = ""
    host: Annotated[
        str, Meta(description='lmtp and smtp: "127.0.0.1:24", "[::1]:24", "relay.example:25" or "unix:/path"')
    ] = ""
    concurrency: Annotated[Count, Meta(description="connections to one destination at once, per delivery worker")] = 20
    timeout_s: Annotated[Seconds, Meta(description="lmtp and smtp: wait for a reply, in seconds")] = 300.0
    connect_timeout_s: Annotated[Seconds, Meta(description="lmtp and smtp: wait for a connection, in seconds")] = 30.0


class Route(Struct, frozen=True, forbid_unknown_fields=True):
    """Which recipients go by which transport; the first match wins."""

    recipients: Annotated[
        list[str], Meta(description='"*@example.org", "user@example.org" or "*"', examples=[["*@example.org"]])
    ]
    transport: Annotated[str, Meta(description="a name from [transport.NAME]", examples=["store"])]


class Log(Struct, frozen=True, forbid_unknown_fields=True):
    """Where mail events are written."""

    file: Annotated[str, Meta(description="file to append to; empty is standard error")] = ""
    format: Annotated[Literal["kv", "json"], Meta(description="kv (key=value) or json, one line an event")] = "kv"


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole, checked configuration."""

    hostname: Annotated[
        str, Meta(description="our name in the banner, in EHLO and in Received", examples=["mx.example.org"])
    ]
    spool: Annotated[
        str,
        Meta(
            description="folder of the spool; relative paths count from this file's folder", examples=["/var/spool/mta"]
        ),
    ]
    listen: list[Listen]
    domains: Domains
    transport: dict[str, Transport]
    route: list[Route]
    user: Annotated[str, Meta(description="workers run as this user when the supervisor is started as root")] = ""
    processes: Processes = Processes()
    limits: Limits = Limits()
    queue: Queue = Queue()
    log: Log = Log()
