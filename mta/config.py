"""The configuration: frozen structs, one declaration per key.

Each field carries its description, unit and bounds; from these come the check, the commented `conf/mta.toml` and the
reference in `docs/configuration.md`. Reading and checking a file is `mta.config_load`; this module is what the rest of
the program passes around. Relative paths have been made absolute (against the folder of the file) by then.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from mta.config_access import Access
from mta.dns.settings import Dns
from mta.tables.settings import Table

Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Seconds = Annotated[float, Meta(gt=0, le=31_536_000)]
Bytes = Annotated[int, Meta(ge=1)]

WORKER_LIMITS = ("connections", "memory_bytes", "large_bytes")
"""Keys of `Limits` that count for a worker as a whole, so that a listener cannot have its own."""


class Processes(Struct, frozen=True, forbid_unknown_fields=True):
    """How many processes of each role."""

    server: Annotated[int, Meta(ge=0, le=256, description="SMTP workers; 0 is one per core")] = 0
    deliver: Annotated[int, Meta(ge=1, le=64, description="delivery workers")] = 1


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds on what a client may use. A [listen.limits] behind a [[listen]] changes them for that listener."""

    message_bytes: Annotated[Bytes, Meta(description="largest message, announced as SIZE (RFC 1870), in bytes")] = (
        52428800
    )
    recipients: Annotated[
        Count, Meta(description="recipients per message; at least 100 (RFC 5321 section 4.5.3.1.8)")
    ] = 1000
    messages: Annotated[
        Count, Meta(description="messages per connection, announced as MAILMAX (RFC 9422); then 421")
    ] = 10000
    connections: Annotated[Count, Meta(description="open connections per worker; one more gets 421")] = 20000
    memory_bytes: Annotated[
        int, Meta(ge=1048576, description="message bytes a worker holds before they are on disk; over it, 452")
    ] = 268435456
    large_bytes: Annotated[
        int, Meta(ge=4096, description="messages over this many bytes stream to a file of their own")
    ] = 262144
    header_bytes: Annotated[
        int, Meta(ge=4096, description="longest header of a message, in bytes; a longer one gets 552")
    ] = 262144
    hops: Annotated[
        int, Meta(ge=30, le=10000, description="Received fields at which a message is taken to loop: 554 5.4.6")
    ] = 100
    command_bytes: Annotated[
        int, Meta(ge=512, le=65536, description="longest command line with its CR LF, in bytes; a longer one gets 500")
    ] = 2048
    commands: Annotated[Count, Meta(description="commands in a session; then 421")] = 1_000_000
    junk_commands: Annotated[
        Count,
        Meta(
            description="commands in a session that bring no message (NOOP, RSET, VRFY, HELP, HELO again), counted "
            "anew after each message; each further one is refused and counts as an error"
        ),
    ] = 100
    soft_errors: Annotated[
        Count, Meta(description="refused commands in a session after which each further refusal is delayed")
    ] = 10
    error_delay_s: Annotated[float, Meta(ge=0, le=60, description="that delay, in seconds; 0 is none")] = 1.0
    errors: Annotated[Count, Meta(description="refused commands in a session before 421 and the end")] = 20
    command_timeout_s: Annotated[
        Seconds,
        Meta(
            description="time for a whole command, from our last reply to its line end, in seconds "
            "(RFC 5321 section 4.5.3.2.7: at least 5 minutes)"
        ),
    ] = 300.0
    data_timeout_s: Annotated[
        Seconds, Meta(description="wait for the next piece of a message, in seconds (RFC 5321 section 4.5.3.2.5)")
    ] = 180.0
    data_rate: Annotated[
        int,
        Meta(
            ge=0,
            description="bytes a second that a message must come with on average, beyond its first data_timeout_s; "
            "0 is any",
        ),
    ] = 500
    session_timeout_s: Annotated[
        Seconds, Meta(description="longest session, in seconds; over it, 421 once no message is being received")
    ] = 14400.0
    stress_timeout_s: Annotated[
        Seconds,
        Meta(
            description="under stress (three quarters of connections or memory_bytes in use) this replaces "
            "command_timeout_s and data_timeout_s where they are longer, in seconds"
        ),
    ] = 10.0
    client_connections: Annotated[
        Count, Meta(description="open connections of one client network, over all workers; one more gets 421")
    ] = 50
    client_ipv4_prefix: Annotated[
        int, Meta(ge=8, le=32, description="bits of an IPv4 address that make the client network")
    ] = 32
    client_ipv6_prefix: Annotated[
        int, Meta(ge=16, le=128, description="bits of an IPv6 address that make the client network")
    ] = 64
    client_exempt: Annotated[
        list[str],
        Meta(description="networks that client_connections does not concern"),
    ] = field(default_factory=lambda: ["127.0.0.0/8", "::1/128"])


class Listen(Struct, frozen=True, forbid_unknown_fields=True):
    """An address to take mail on."""

    address: Annotated[
        str, Meta(description='IP address and port: "127.0.0.1:2525" or "[::]:25"', examples=["0.0.0.0:25"])
    ]
    protocol: Annotated[
        Literal["smtp", "lmtp"],
        Meta(description="what is spoken; lmtp (RFC 2033) gives a reply for each recipient of a message"),
    ] = "smtp"
    tls: Annotated[
        Literal["none", "optional", "required", "implicit"],
        Meta(
            description="TLS: none; STARTTLS offered (where [tls] has a certificate); demanded before MAIL; or spoken "
            "from the first byte"
        ),
    ] = "optional"
    client_certificates: Annotated[
        Literal["none", "ask", "require"],
        Meta(
            description="certificates of clients: not asked for; asked for and recorded; or demanded, and verified "
            "against tls.client_ca"
        ),
    ] = "ask"
    bare_newlines: Annotated[
        Literal["refuse", "normalise", "keep"],
        Meta(
            description="messages with a CR or LF outside CR LF: refuse them with 550; make LF a line end and CR a "
            "blank; or keep them as they are (what goes out over SMTP or LMTP is normalised)"
        ),
    ] = "refuse"
    refuse_early: Annotated[
        list[Literal["greeting", "helo", "ehlo", "data"]],
        Meta(
            description="where a client that does not wait for our reply is sent away with 554: before the greeting; "
            "anywhere in a session opened by HELO; behind EHLO; between DATA and 354. Behind STARTTLS always"
        ),
    ] = field(default_factory=lambda: ["greeting", "ehlo", "data"])
    proxy_protocol: Annotated[
        list[str],
        Meta(
            description="networks of load balancers: connections from there must begin with a PROXY header, version "
            "1 or 2, and count as coming from the client it names",
        ),
    ] = field(default_factory=list)
    xclient: Annotated[
        list[str], Meta(description="networks whose XCLIENT command is believed: filters that stand for the client")
    ] = field(default_factory=list)
    xfer: Annotated[
        list[str],
        Meta(
            description="networks of other nodes that may hand their queues to this one (mta drain --to): what they "
            "hand over is taken for ANY recipient, and relayed. Never a network with anybody else in it"
        ),
    ] = field(default_factory=list)
    xforward: Annotated[list[str], Meta(description="networks whose XFORWARD command is taken, for the log only")] = (
        field(default_factory=list)
    )
    limits: Annotated[
        Limits,
        Meta(
            description="[listen.limits]: what differs from [limits] here; any of its keys but connections, "
            "memory_bytes and large_bytes, which are the worker's",
            examples=[{"message_bytes": 10485760, "client_connections": 500}],
        ),
    ] = Limits()  # complete once the configuration is loaded: what was not set here has been taken from [limits]
    access: Annotated[
        Access,
        Meta(
            description="[listen.access]: what differs from [access] here; an empty text takes a table away",
            examples=[{"client": "", "sender_unknown": "refuse"}],
        ),
    ] = Access()  # likewise, from [access]


class Certificate(Struct, frozen=True, forbid_unknown_fields=True):
    """A further certificate: for the names in it (SNI), or for the same names with another kind of key."""

    certificate: Annotated[
        str, Meta(description="PEM file with the certificate and its chain", examples=["/etc/mta/rsa.pem"])
    ]
    key: Annotated[str, Meta(description="PEM file with the private key", examples=["/etc/mta/rsa.key"])]


class Tls(Struct, frozen=True, forbid_unknown_fields=True):
    """TLS, 1.2 and up. Files are read by the supervisor (as root, if it is), again when they change."""

    certificate: Annotated[
        str, Meta(description="PEM file with the certificate and its chain; without one there is no TLS")
    ] = ""
    key: Annotated[str, Meta(description="PEM file with the private key")] = ""
    extra: Annotated[
        list[Certificate],
        Meta(
            description="further certificates, each a [[tls.extra]]",
            examples=[[{"certificate": "/etc/mta/rsa.pem", "key": "/etc/mta/rsa.key"}]],
        ),
    ] = field(default_factory=list)
    client_ca: Annotated[
        str, Meta(description="PEM file with the authorities that certificates of clients are verified against")
    ] = ""
    min_version: Annotated[Literal["1.2", "1.3"], Meta(description="oldest version of TLS that is spoken")] = "1.2"


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
