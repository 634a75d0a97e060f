"""Why we refuse: the word in brackets at the end of a refusal, and what it means to those who read it.

A word never changes its meaning and is never taken away, because filters, dashboards and people's notes name it; a new
kind of refusal gets a new word. `docs/replies.md` is made from this table and the refusals of `mta.smtp.replies`.
"""

import msgspec


class Reason(msgspec.Struct, frozen=True):
    """What a word means.

    `meaning` is what happened; `sender` what whoever sends can do about it; `administrator` what whoever runs the
    server can do, and `settings` the keys of the configuration that govern it, as `table.key`.
    """

    meaning: str
    sender: str
    administrator: str = ""
    settings: tuple[str, ...] = ()


_RETRY = "Nothing: the sending server tries again by itself."
_SOFTWARE = "Report it to the makers of the sending program: it does not speak SMTP as RFC 5321 has it."

REASONS: dict[str, Reason] = {
    "bad-action": Reason(
        "An access table has a value that is no action. Nobody guesses what it means; the mail is put off.",
        _RETRY,
        "The log has an event `problem` with the table, the key and what is wrong. `mta check` finds such values in "
        "lines and files.",
        ("access.client", "access.helo", "access.sender", "access.recipient"),
    ),
    "alias": Reason(
        "The recipient has an alias that cannot be followed: something in it is no address, or it comes to more "
        "addresses, or by more steps, than one may.",
        _RETRY,
        "The log has an event `problem` with the alias and what is wrong with it. Mail waits with its senders until "
        "the table is right.",
        ("domains.aliases",),
    ),
    "alias-loop": Reason(
        "The recipient has an alias that leads back to itself by way of others.",
        _RETRY,
        "The log has an event `problem` with the addresses in the circle. An alias that names itself directly is none: "
        "it keeps the address beside others.",
        ("domains.aliases",),
    ),
    "bare-newline": Reason(
        "A line ended in LF alone, or a CR stood elsewhere than before an LF. In SMTP lines end in CR LF and nothing "
        "else (RFC 5321 section 2.3.8). Servers that disagree about line ends can be made to see two messages where "
        "one was sent (SMTP smuggling), so such messages are refused whole, after their real end.",
        "Have the sending program end lines in CR LF, or encode the content as quoted-printable or base64; or send it "
        "with BDAT and BODY=BINARYMIME.",
        'With "normalise" messages are taken and their line ends repaired, with "keep" they are taken as they are. '
        "Command lines must end in CR LF everywhere.",
        ("listen.bare_newlines",),
    ),
    "bdat-size": Reason(
        "The size in a BDAT command is missing, no number, or larger than any message can be (RFC 3030 section 2). "
        "Where the next command begins can not be known, so the connection is closed.",
        _SOFTWARE,
    ),
    "client-access": Reason(
        "The table about clients puts off or refuses the address that the mail comes from.",
        "Ask the administrator of the receiving server; postmaster there takes mail from everybody.",
        "`mta table get NAME --access client ADDRESS` tells what the table says.",
        ("access.client",),
    ),
    "client-connections": Reason(
        "As many connections are open from the client's network as are allowed to one.",
        "Send over fewer connections at a time. A queue that tries again later will get through.",
        "Raise the limit, or exempt the networks of large senders and of your own relays.",
        (
            *("limits.client_connections", "limits.client_ipv4_prefix", "limits.client_ipv6_prefix"),
            "limits.client_exempt",
        ),
    ),
    "commands": Reason(
        "The session has had as many commands as one may have.",
        "Connect again; the sending server does so by itself.",
        settings=("limits.commands",),
    ),
    "connections": Reason(
        "The worker that took the connection has as many open as it may have.",
        _RETRY,
        "If this is usual, raise the limit (and that of open files), or run more workers.",
        ("limits.connections", "processes.server"),
    ),
    "early-talker": Reason(
        "The client did not wait for our reply where it has to: it spoke before the greeting, behind EHLO, between "
        "DATA and 354, in a session without extensions, or behind STARTTLS, where somebody on the way may have put "
        "commands in. Programs that send spam do this; a mail server never needs to.",
        "Have the sending program wait for the greeting, and after EHLO, STARTTLS and DATA (RFC 2920 section 3.1).",
        "Choose where it is refused. Behind STARTTLS it always is.",
        ("listen.refuse_early",),
    ),
    "errors": Reason(
        "So many commands of the session were refused that it was ended.",
        "The refusals before this one tell what is wrong. Clean a list of which many addresses are refused.",
        "Look up the session in the log.",
        ("limits.errors", "limits.soft_errors", "limits.error_delay_s"),
    ),
    "fault": Reason(
        "Something in this server went wrong; nothing was accepted.",
        _RETRY,
        "The log has an event `problem` with the session's id and what went wrong. Please report it.",
    ),
    "header-too-big": Reason(
        "The header of the message, or a message without an empty line, is longer than is taken.",
        "Send fewer or shorter header fields; long lists of recipients belong in the envelope.",
        settings=("limits.header_bytes",),
    ),
    "helo-access": Reason(
        "The table about HELO names puts off or refuses the name that the client gave for itself.",
        "Give the sending server the name that the DNS has for its address, and have it say that in EHLO.",
        "`mta table get NAME --access helo NAME` tells what the table says.",
        ("access.helo",),
    ),
    "junk-commands": Reason(
        "The session has had too many commands that bring no message (NOOP, RSET, VRFY, HELP, HELO or EHLO again).",
        "Do not keep connections open by NOOP: close them, and connect when there is mail.",
        settings=("limits.junk_commands",),
    ),
    "long-line": Reason(
        "A command line is longer than is taken. It was read to its end and dropped.",
        _SOFTWARE,
        settings=("limits.command_bytes",),
    ),
    "loop": Reason(
        "The message has passed so many hosts, by its Received fields, that it must be going in circles "
        "(RFC 5321 section 6.3).",
        "Look at its Received fields: two servers each believe that the other is responsible for the recipient, or a "
        "forwarding leads back to where it began.",
        "See whether a route of yours sends mail to a host that sends it back.",
        ("limits.hops",),
    ),
    "memory": Reason(
        "The messages that are being received fill the memory set aside for them.",
        _RETRY,
        "Usual only under attack or with a disk that is too slow; otherwise raise the limit or run more workers.",
        ("limits.memory_bytes", "processes.server"),
    ),
    "messages": Reason(
        "The connection has brought as many messages as one may bring; the number was announced as MAILMAX (RFC 9422).",
        "Connect again; the sending server does so by itself.",
        settings=("limits.messages",),
    ),
    "no-route": Reason(
        "The recipient exists, and no route says where its mail goes; or the table of a route names no transport.",
        _RETRY,
        "The log has an event `problem` with the address. Targets of aliases in other domains need a route, as "
        "everybody does.",
        ("route.recipients", "route.table"),
    ),
    "no-user": Reason(
        "The domain is one of ours, and nobody in it has this address.",
        "Look for a typing error in the address, and ask the recipient for the right one by other means. Take it off "
        "lists: servers that send to many addresses that do not exist are taken for senders of spam.",
        "If it should exist, add it to the table of recipients; `mta table get NAME --recipient ADDRESS` tells what "
        "the table knows. That there is none is remembered for a while.",
        ("domains.recipients", "domains.extension", "table.negative_cache_s"),
    ),
    "not-authorized": Reason(
        "XCLIENT or XFORWARD came from an address that may not use it.",
        "Nothing: senders have no use for these commands.",
        "List the networks of your filters and relays that need them.",
        ("listen.xclient", "listen.xforward"),
    ),
    "not-implemented": Reason(
        "The command is known and not offered here. AUTH, for one, is for servers that take mail from their own users.",
        "Users send through their own provider's submission server, not through the recipient's (RFC 6409).",
        "STARTTLS needs a certificate, and a listener that offers it.",
        ("tls.certificate", "listen.tls"),
    ),
    "not-smtp": Reason(
        "The client speaks HTTP. A browser or a proxy was talked into sending mail; the connection is closed at once.",
        "Nothing legitimate does this.",
    ),
    "null-mx": Reason(
        "The domain of the envelope sender says in the DNS that it takes no mail (RFC 7505 section 4.2), so nobody "
        "could be told what became of this message. A forged sender, mostly.",
        "Send with an address in a domain that takes mail.",
        "Off by default. A sender for whom the tables say OK is not asked about.",
        ("access.sender_null_mx", "access.sender"),
    ),
    "order": Reason(
        "The command has no place here: it came before one that it needs, or where it is not allowed "
        "(RFC 5321 section 4.1.4). The text names what was expected.",
        "Mostly the consequence of an earlier refusal, which tells what is wrong: where no recipient was accepted, for "
        "one, there is no transaction for DATA to end.",
    ),
    "parameter": Reason(
        "A parameter of MAIL or RCPT is not offered (555), or its value is wrong or was given twice (501).",
        "Use only parameters whose extension is in the answer to EHLO, and send EHLO, not HELO.",
    ),
    "recipient-access": Reason(
        "The table about recipients puts off or refuses mail for this one.",
        "Ask the administrator of the receiving server; postmaster there takes mail from everybody.",
        "`mta table get NAME --access recipient ADDRESS` tells what the table says.",
        ("access.recipient",),
    ),
    "recipient-syntax": Reason(
        "The recipient is no address, or its domain is no domain (RFC 5321 section 4.1.2).",
        "Correct the address.",
    ),
    "recipients": Reason(
        "The message has as many recipients as one may have; those before this one are kept.",
        "Nothing: the sending server sends it to the others in another transaction (RFC 5321 section 4.5.3.1.10).",
        settings=("limits.recipients",),
    ),
    "relay": Reason(
        "The recipient's domain is none that this server takes mail for.",
        "Check the part behind the @. If it is right, the DNS of that domain names the wrong server (MX).",
        "Add the domain, if it is yours. There is no setting by which others could relay through this server; a node "
        "of yours that hands its queue over (`mta drain --to`) has to be in `xfer`.",
        ("domains.local", "domains.table", "listen.xfer"),
    ),
    "sender-access": Reason(
        "The table about senders puts off or refuses the envelope sender or its domain.",
        "Ask the administrator of the receiving server; postmaster there takes mail from everybody.",
        "`mta table get NAME --access sender ADDRESS` tells what the table says; `<>` is the null sender.",
        ("access.sender",),
    ),
    "sender-domain": Reason(
        "The domain of the envelope sender has neither MX nor address in the DNS (550), or that can not be found out "
        "now (450), so nobody could be told what became of this message.",
        "Correct the address that the sending program gives as envelope sender (bounce address), or the DNS of its "
        "domain.",
        "Off by default. A sender for whom the tables say OK is not asked about.",
        ("access.sender_unknown", "access.sender"),
    ),
    "sender-syntax": Reason(
        "The sender is no address, or its domain is no domain (RFC 5321 section 4.1.2).",
        "Correct the address that the sending program gives as envelope sender (bounce address).",
    ),
    "session-timeout": Reason(
        "The session has lasted as long as one may last.",
        "Connect again; the sending server does so by itself.",
        settings=("limits.session_timeout_s",),
    ),
    "shutdown": Reason(
        "The server is being stopped or restarted.",
        _RETRY,
    ),
    "sink-full": Reason(
        "As many messages wait for the way that the recipient's mail takes as may wait for it. Mail for recipients who "
        "are reached by another way is taken.",
        _RETRY,
        "See why the transport is slow: `mta queue stats` says which are full, and what is wrong with their "
        "destinations. Otherwise raise its limit.",
        ("transport.queue_limit",),
    ),
    "smtputf8": Reason(
        "An address has other characters than ASCII, and the sender did not declare SMTPUTF8 (RFC 6531 section 3.4).",
        "Use a sending program with SMTPUTF8, or an address in ASCII; of a domain, its A-label (xn--...).",
    ),
    "storage": Reason(
        "The message can not be stored: a disk is full or gives errors. Nothing was accepted.",
        _RETRY,
        "See that the disk of the spool has space; mail flows again by itself. The log tells which error it was.",
        ("spool",),
    ),
    "syntax": Reason(
        "The command's argument is not in the form that the text shows.",
        _SOFTWARE,
    ),
    "table-down": Reason(
        "Whether the recipient exists, what becomes of it, or whether this mail is wanted, can not be found out: a "
        "table does not answer, or its file has faults.",
        _RETRY,
        "The log has an event `problem` with the name of the table and why it is down.",
        (
            *("domains.recipients", "domains.aliases", "domains.table", "route.table"),
            *("access.client", "access.helo", "access.sender", "access.recipient", "table.timeout_s"),
        ),
    ),
    "timeout": Reason(
        "The client sent nothing, or not all of a command or message, for too long. Under stress less time is given.",
        "If it happens with large messages only, look for a firewall that drops packets (path MTU).",
        settings=("limits.command_timeout_s", "limits.data_timeout_s", "limits.stress_timeout_s"),
    ),
    "tls-required": Reason(
        "This listener takes mail only over TLS.",
        "Have the sending server use STARTTLS.",
        'With `tls = "optional"` mail comes in clear text as well; a public MX should allow it (RFC 3207 section 4).',
        ("listen.tls",),
    ),
    "tls-unavailable": Reason(
        "TLS was offered and can not be spoken at the moment.",
        _RETRY,
        "The log tells what is wrong with the certificate or its key.",
        ("tls.certificate", "tls.key"),
    ),
    "too-big": Reason(
        "The message is larger than is taken; the limit is announced as SIZE (RFC 1870).",
        "Send less, or a link to it. Attachments grow by a third in the mail.",
        settings=("limits.message_bytes",),
    ),
    "too-slow": Reason(
        "The message came with fewer bytes a second than is asked for.",
        "Nothing, mostly: the sending server tries again by itself. See whether the line is overloaded.",
        settings=("limits.data_rate", "limits.data_timeout_s"),
    ),
    "unknown-command": Reason(
        "No such command is known.",
        _SOFTWARE,
    ),
}
