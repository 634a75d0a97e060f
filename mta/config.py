"""The configuration: frozen structs, one declaration per key.

Each field carries its description, unit and bounds; from these come the check, the commented `conf/mta.toml` and the
reference in `docs/configuration.md`. Reading and checking a file is `mta.config_load`; this module is what the rest of
the program passes around. Relative paths have been made absolute (against the folder of the file) by then.

The structs of listeners are in `mta.settings_listen`, those of access, tables and look-ups beside what they are for.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from mta.config_access import Access
from mta.dns.settings import Dns
from mta.settings_listen import WORKER_LIMITS, Certificate, Limits, Listen, Tls
from mta.settings_types import Count, Seconds
from mta.tables.settings import Table

__all__ = [
    "WORKER_LIMITS",
    "Bounces",
    "Certificate",
    "Config",
    "Domains",
    "Limits",
    "Listen",
    "Log",
    "Processes",
    "Queue",
    "Route",
    "Tls",
    "Transport",
]


class Processes(Struct, frozen=True, forbid_unknown_fields=True):
    """How many processes of each role."""

    server: Annotated[int, Meta(ge=0, le=256, description="SMTP workers; 0 is one per core")] = 0
    deliver: Annotated[int, Meta(ge=1, le=64, description="delivery workers")] = 1


class Domains(Struct, frozen=True, forbid_unknown_fields=True):
    """Which domains we take mail for."""

    local: Annotated[
        list[str],
        Meta(
            description="accepted recipient domains; mail for any other is refused, never relayed",
            examples=[["example.org"]],
        ),
    ] = field(default_factory=list)
    recipients: Annotated[
        str,
        Meta(
            description="name of a [table.NAME] of those who exist in these domains; others are refused with 550, and "
            "all are put off with 451 while the table is down. Without one, everybody exists"
        ),
    ] = ""
    table: Annotated[
        str,
        Meta(
            description="name of a [table.NAME] of further local domains, asked with the domain as key. While it is "
            "down, mail for domains that are not in local is put off with 451"
        ),
    ] = ""
    aliases: Annotated[
        str,
        Meta(
            description="name of a [table.NAME] of aliases: to each, the addresses that its mail goes to instead, "
            "separated by blanks or commas. They may be in other domains, and have aliases themselves"
        ),
    ] = ""
    extension: Annotated[
        Literal["", "+", "-", "=", "_", "#"],
        Meta(
            description="begins an extension: user+tag, who is not in the table of recipients, of aliases or of a "
            "route, is found there if user is; an alias carries it on to its targets. Empty for none"
        ),
    ] = ""


class Queue(Struct, frozen=True, forbid_unknown_fields=True):
    """When to try again, and when to give up."""

    retry_min_s: Annotated[
        Seconds, Meta(description="wait before the second attempt, in seconds; doubles each time")
    ] = 300.0
    retry_max_s: Annotated[Seconds, Meta(description="longest wait between attempts, in seconds")] = 4000.0
    lifetime_s: Annotated[Seconds, Meta(description="age at which a message is given up, in seconds")] = 432000.0
    active: Annotated[Count, Meta(description="messages the queue manager holds in memory at once")] = 20000
    delay_warning_s: Annotated[
        float,
        Meta(
            ge=0,
            le=31_536_000,
            description="age at which the sender of a message is told once that it is late, in seconds; 0 is never",
        ),
    ] = 0.0


class Bounces(Struct, frozen=True, forbid_unknown_fields=True):
    """What senders are told of their messages (RFC 3464). It needs a route to them, as any message does."""

    send: Annotated[
        bool,
        Meta(description="tell them; if not, messages that failed stay in the queue until they are deleted"),
    ] = True
    double: Annotated[
        Literal["drop", "postmaster"],
        Meta(
            description="failures of messages with the null sender (bounces): drop them, or tell postmaster at the "
            "first local domain, also where no route leads to the sender (or else those stay in the queue as failed)"
        ),
    ] = "drop"
    full_bytes: Annotated[
        int,
        Meta(
            ge=0,
            le=16_777_216,
            description="largest message that is returned whole, in bytes (and not if RET=HDRS); of others, the header",
        ),
    ] = 65536
    templates: Annotated[
        str,
        Meta(
            description="folder with texts of your own: failure.txt, delay.txt, success.txt, double.txt; what is not "
            "there is as built in"
        ),
    ] = ""


class Transport(Struct, frozen=True, forbid_unknown_fields=True):
    """A way to hand messages on."""

    kind: Annotated[
        Literal["maildir", "mbox", "lmtp", "smtp", "pipe", "http", "discard", "fail"],
        Meta(description="what it does", examples=["maildir"]),
    ]
    path: Annotated[
        str,
        Meta(
            description="maildir and mbox: the folder or file, with {domain} and {local} of the recipient",
            examples=["/var/mail/{domain}/{local}"],
        ),
    ] = ""
    host: Annotated[
        str,
        Meta(
            description='lmtp and smtp: "127.0.0.1:24", "[::1]:24", "relay.example:25" or "unix:/path". smtp without a '
            "host sends to the MX of each recipient's domain"
        ),
    ] = ""
    concurrency: Annotated[
        Count, Meta(description="connections to one destination at once, or commands, per delivery worker")
    ] = 20
    rate: Annotated[
        float, Meta(ge=0, le=1_000_000, description="messages a second that go this way, at most; 0 is any number")
    ] = 0.0
    destination_rate: Annotated[
        float, Meta(ge=0, le=1_000_000, description="messages a second to one destination, at most; 0 is any number")
    ] = 0.0
    queue_limit: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000_000,
            description="messages that may wait for this transport or be in its hands: with more, its recipients are "
            "put off with 451 until a tenth of them are gone; 0 is any number",
        ),
    ] = 0
    timeout_s: Annotated[
        Seconds, Meta(description="lmtp, smtp and http: wait for a reply; pipe: longest run of a command; in seconds")
    ] = 300.0
    connect_timeout_s: Annotated[
        Seconds, Meta(description="lmtp, smtp and http: wait for a connection, in seconds")
    ] = 30.0
    tls: Annotated[
        Literal["default", "none", "optional", "required", "verify"],
        Meta(
            description="lmtp and smtp: TLS, by STARTTLS: none; used where it is offered and works, with any "
            "certificate; demanded, with any certificate; or demanded, with a certificate that is verified. By default "
            "optional for smtp over a network, and none else"
        ),
    ] = "default"
    tls_name: Annotated[
        str, Meta(description="lmtp and smtp: the name in the next hop's certificate; without it, that of host")
    ] = ""
    tls_ca: Annotated[
        str,
        Meta(
            description='http, tls = "verify", mta_sts: PEM file with the authorities that count, readable for user; '
            "without one, the system's"
        ),
    ] = ""
    mta_sts: Annotated[
        bool,
        Meta(
            description="smtp without a host: heed what domains publish by MTA-STS (RFC 8461), unless tls is none. "
            "Policies are fetched by HTTPS, port 443; tls_ca counts for their servers and for the hosts that they name"
        ),
    ] = True
    url: Annotated[
        str, Meta(description='http: where to post to, "https://api.example.org/mail"; http:// goes without TLS')
    ] = ""
    format: Annotated[
        Literal["message", "multipart"],
        Meta(
            description="http: the message as the body and the envelope in X-Mta- headers; or multipart/form-data with "
            "the parts envelope (JSON) and message"
        ),
    ] = "message"
    key_file: Annotated[
        str, Meta(description="http: file with the key that requests are signed with, readable for user; or unsigned")
    ] = ""
    command: Annotated[
        list[str],
        Meta(
            description="pipe: program (an absolute path) and arguments; {sender}, {recipient}, {local}, {domain}, "
            "{queue_id} and {size} (in bytes) are replaced in the arguments. There is no shell"
        ),
    ] = field(default_factory=list)
    per: Annotated[
        Literal["recipient", "message"],
        Meta(
            description="pipe: one run for each recipient, or one for up to 64 recipients of a message; an argument "
            "with {recipient}, {local} or {domain} is then there once for each"
        ),
    ] = "recipient"
    envelope_fields: Annotated[
        bool,
        Meta(description="pipe: begin the content with Return-Path and, for a single recipient, Delivered-To"),
    ] = True
    line_end: Annotated[Literal["lf", "crlf"], Meta(description="pipe: how lines of the content end")] = "lf"
    code: Annotated[
        str,
        Meta(description='fail: enhanced status code (RFC 3463) of every recipient; one that begins with "4." defers'),
    ] = "5.1.1"
    text: Annotated[str, Meta(description="fail: the text beside it, in ASCII")] = "User unknown"


class Route(Struct, frozen=True, forbid_unknown_fields=True):
    """Which recipients go by which transport; the first whose conditions all hold wins."""

    recipients: Annotated[
        list[str], Meta(description='"*@example.org", "user@example.org" or "*"', examples=[["*@example.org"]])
    ]
    transport: Annotated[
        str, Meta(description="a name from [transport.NAME]; or else table is given", examples=["store"])
    ] = ""
    senders: Annotated[
        list[str],
        Meta(
            description='only mail from these: as recipients, or "<>" for the null sender (bounces have it); empty is '
            "everybody"
        ),
    ] = field(default_factory=list)
    listeners: Annotated[
        list[str], Meta(description="only mail that came in by these: addresses as in [[listen]]; empty is any")
    ] = field(default_factory=list)
    table: Annotated[
        str,
        Meta(
            description="in place of transport: name of a [table.NAME] that has names of transports, asked for the "
            "recipient when it is accepted. Who is not in it goes by the next route"
        ),
    ] = ""
    copy_to: Annotated[
        list[str],
        Meta(
            description="names of transports that get a copy for each recipient, decided when it is accepted; nobody "
            "is told when a copy fails"
        ),
    ] = field(default_factory=list)


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
    tls: Tls = Tls()
    access: Access = Access()
    dns: Dns = Dns()
    queue: Queue = Queue()
    bounces: Bounces = Bounces()
    table: dict[str, Table] = field(default_factory=dict)
    log: Log = Log()
