"""What may be set for listeners, as `mta.config` has it: limits, access, the [[listen]] tables, and TLS."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from mta.config_access import Access
from mta.settings_types import Bytes, Count, Seconds

WORKER_LIMITS = ("connections", "memory_bytes", "large_bytes")
"""Keys of `Limits` that count for a worker as a whole, so that a listener cannot have its own."""


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
        int,
        Meta(
            ge=1048576,
            description="bytes of messages and of their recipients that a worker holds before they are on disk; "
            "over it, 452",
        ),
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
