"""Every reply the server can give, named `R` + code + what it says.

A `Reply` is a constant: its bytes are made once, here. Text that depends on the occasion (our name, a queue id) is
made by the functions at the end. Codes are those of RFC 5321 section 4.2.3, enhanced codes those of RFC 3463 and its
registry; neither the greeting, the answers to HELO and EHLO nor 354 carry an enhanced code (RFC 2034 section 4).

Each refusal has a reason: one word that never changes, in brackets at the end of its text, in the log and in
`docs/replies.md`, where `mta.smtp.reasons` explains it.
"""

import msgspec


class Reply(msgspec.Struct, frozen=True, gc=False):
    """One reply. `wire` is what is sent, CR LF included; `code` its three digits; `reason` the word of a refusal."""

    code: int
    wire: bytes
    reason: str = ""

    @property
    def text(self) -> str:
        """The reply on one line, without its line ends, for logs and people."""
        return self.wire.decode("utf-8", "replace").strip().replace("\r\n", " / ")


def reply(code: int, enhanced: str, text: str) -> Reply:
    """A one-line reply that is no refusal; `enhanced` is empty where none belongs."""
    status = f"{enhanced} " if enhanced else ""
    return Reply(code, f"{code} {status}{text}\r\n".encode())


def refusal(code: int, enhanced: str, text: str, reason: str) -> Reply:
    """A one-line reply that refuses, for now (4xx) or for good (5xx)."""
    return Reply(code, f"{code} {enhanced} {text} [{reason}]\r\n".encode(), reason)


R214_HELP = reply(214, "2.0.0", "Commands: HELO EHLO MAIL RCPT DATA BDAT RSET NOOP QUIT HELP VRFY STARTTLS (RFC 5321)")
R214_HELP_LMTP = reply(214, "2.0.0", "Commands: LHLO MAIL RCPT DATA BDAT RSET NOOP QUIT HELP VRFY STARTTLS (RFC 2033)")
R220_START_TLS = reply(220, "2.0.0", "Ready to start TLS")
R221_BYE = reply(221, "2.0.0", "Bye")
R250_OK = reply(250, "2.0.0", "OK")
R250_SENDER = reply(250, "2.1.0", "Sender OK")
R250_RECIPIENT = reply(250, "2.1.5", "Recipient OK")
R252_VRFY = reply(252, "2.0.0", "Cannot verify, but will take mail and try to deliver it")
R353_PER_RECIPIENT = reply(353, "", "A reply for each recipient follows")
R354_GO_AHEAD = reply(354, "", "End data with <CR><LF>.<CR><LF>")

R421_SHUTDOWN = refusal(421, "4.3.2", "Service is going down, try again later", "shutdown")
R421_TIMEOUT = refusal(421, "4.4.2", "Timeout, closing the connection", "timeout")
R421_TOO_SLOW = refusal(421, "4.4.2", "Too slow, closing the connection", "too-slow")
R421_SESSION_TIMEOUT = refusal(421, "4.4.2", "The session has lasted too long, connect again", "session-timeout")
R421_TOO_MANY_ERRORS = refusal(421, "4.7.0", "Too many errors, closing the connection", "errors")
R421_TOO_MANY_COMMANDS = refusal(421, "4.7.0", "Too many commands, closing the connection", "commands")
R421_TOO_MANY_MESSAGES = refusal(421, "4.7.0", "Too many messages in a connection, connect again", "messages")
R421_TOO_MANY_CONNECTIONS = refusal(421, "4.3.2", "Too many connections, try again later", "connections")
R421_TOO_MANY_OF_CLIENT = refusal(
    421, "4.7.0", "Too many connections from your network, try again later", "client-connections"
)
R421_OVERLOADED = refusal(421, "4.3.2", "Out of memory, try again later", "memory")
R421_STORAGE = refusal(421, "4.3.1", "Out of storage, try again later", "storage")
R450_CLIENT_ACCESS = refusal(450, "4.7.1", "Your address is put off, try again later", "client-access")
R450_HELO_ACCESS = refusal(450, "4.7.1", "Your HELO name is put off, try again later", "helo-access")
R450_SENDER_ACCESS = refusal(450, "4.7.1", "The sender is put off, try again later", "sender-access")
R450_RECIPIENT_ACCESS = refusal(450, "4.7.1", "The recipient takes no mail now, try again later", "recipient-access")
R450_SENDER_DOMAIN = refusal(450, "4.1.8", "Cannot look up the sender's domain now, try again later", "sender-domain")
R451_ACCESS_DOWN = refusal(451, "4.4.3", "Cannot look up now whether you may send, try again later", "table-down")
R451_ACCESS_VALUE = refusal(451, "4.3.5", "Error in configuration, try again later", "bad-action")
R451_LOCAL_ERROR = refusal(451, "4.3.0", "Error in processing, try again later", "fault")
R451_TABLE_DOWN = refusal(451, "4.4.3", "Cannot look up the recipient now, try again later", "table-down")
R451_ALIAS_LOOP = refusal(451, "4.4.6", "The alias of the recipient leads to itself, try again later", "alias-loop")
R451_ALIAS = refusal(451, "4.3.5", "The alias of the recipient has a fault, try again later", "alias")
R451_NO_ROUTE = refusal(451, "4.3.5", "There is no way to the recipient just now, try again later", "no-route")
R451_SINK_FULL = refusal(451, "4.4.5", "Too much mail is waiting for the recipient, try again later", "sink-full")
R452_STORAGE = refusal(452, "4.3.1", "Out of storage, try again later", "storage")
R452_BUSY = refusal(452, "4.3.2", "Out of memory, try again later", "memory")
R452_TOO_MANY_RECIPIENTS = refusal(
    452, "4.5.3", "Too many recipients, send the others in another transaction", "recipients"
)
R454_TLS_UNAVAILABLE = refusal(454, "4.7.0", "TLS is not available just now", "tls-unavailable")

R500_UNKNOWN = refusal(500, "5.5.1", "Command not recognized", "unknown-command")
R500_LINE_TOO_LONG = refusal(500, "5.5.2", "Line too long", "long-line")
R500_BARE_LF = refusal(500, "5.5.2", "Lines must end in CR LF", "bare-newline")
R501_HELO_SYNTAX = refusal(501, "5.5.4", "Syntax: HELO domain or EHLO domain", "syntax")
R501_LHLO_SYNTAX = refusal(501, "5.5.4", "Syntax: LHLO domain", "syntax")
R501_MAIL_SYNTAX = refusal(501, "5.5.4", "Syntax: MAIL FROM:<address> [parameters]", "syntax")
R501_RCPT_SYNTAX = refusal(501, "5.5.4", "Syntax: RCPT TO:<address> [parameters]", "syntax")
R501_BDAT_SYNTAX = refusal(501, "5.5.4", "Syntax: BDAT size [LAST]; closing the connection", "bdat-size")
R501_XCLIENT_SYNTAX = refusal(501, "5.5.4", "Syntax: XCLIENT attribute=value ...", "syntax")
R501_XFORWARD_SYNTAX = refusal(501, "5.5.4", "Syntax: XFORWARD attribute=value ...", "syntax")
R501_SENDER_DOMAIN = refusal(501, "5.1.8", "Bad sender domain syntax", "sender-syntax")
R501_SENDER_ADDRESS = refusal(501, "5.1.7", "Bad sender address syntax", "sender-syntax")
R501_RECIPIENT_DOMAIN = refusal(501, "5.1.2", "Bad recipient domain syntax", "recipient-syntax")
R501_RECIPIENT_ADDRESS = refusal(501, "5.1.3", "Bad recipient address syntax", "recipient-syntax")
R501_NO_ARGUMENT = refusal(501, "5.5.4", "This command takes no argument", "syntax")
R501_PARAMETER_VALUE = refusal(501, "5.5.4", "Bad or repeated parameter", "parameter")
R502_NOT_IMPLEMENTED = refusal(502, "5.5.1", "Command not implemented", "not-implemented")
R502_NOT_SMTP = refusal(502, "5.7.0", "This is a mail server", "not-smtp")
R503_HELLO_FIRST = refusal(503, "5.5.1", "Send HELO or EHLO first", "order")
R503_LHLO_FIRST = refusal(503, "5.5.1", "Send LHLO first", "order")
R503_NEED_MAIL = refusal(503, "5.5.1", "Need MAIL first", "order")
R503_NEED_RECIPIENT = refusal(503, "5.5.1", "Need RCPT first", "order")
R503_NESTED_MAIL = refusal(503, "5.5.1", "Sender already given", "order")
R503_IN_BDAT = refusal(503, "5.5.1", "BDAT has begun: more BDAT, or RSET", "order")
R503_BINARY_DATA = refusal(503, "5.5.1", "BINARYMIME goes with BDAT, not with DATA", "order")
R503_IN_TRANSACTION = refusal(503, "5.5.1", "Not in a mail transaction", "order")
R503_TLS_ACTIVE = refusal(503, "5.5.1", "TLS is active already", "order")
R503_LMTP = refusal(503, "5.5.1", "LMTP here: say LHLO", "order")
R503_TOO_MANY_JUNK = refusal(503, "5.7.0", "Too many commands that bring no message", "junk-commands")
R530_TLS_REQUIRED = refusal(530, "5.7.0", "Send STARTTLS first", "tls-required")
R550_CLIENT_ACCESS = refusal(550, "5.7.1", "Your address may not send mail here", "client-access")
R550_HELO_ACCESS = refusal(550, "5.7.1", "Your HELO name may not send mail here", "helo-access")
R550_SENDER_ACCESS = refusal(550, "5.7.1", "The sender may not send mail here", "sender-access")
R550_RECIPIENT_ACCESS = refusal(550, "5.7.1", "The recipient takes no mail", "recipient-access")
R550_SENDER_DOMAIN = refusal(550, "5.1.8", "The sender's domain does not exist", "sender-domain")
R550_SENDER_NULL_MX = refusal(550, "5.7.27", "The sender's domain takes no mail (null MX)", "null-mx")
R550_BARE_NEWLINE = refusal(550, "5.5.2", "Message has a bare CR or LF; lines must end in CR LF", "bare-newline")
R550_NO_USER = refusal(550, "5.1.1", "No such user here", "no-user")
R550_RELAY = refusal(550, "5.7.1", "Relaying denied", "relay")
R550_NO_ACCESS = refusal(550, "5.7.0", "Your address is not allowed to use this command", "not-authorized")
R552_TOO_BIG = refusal(552, "5.3.4", "Message too big", "too-big")
R552_HEADER_TOO_BIG = refusal(552, "5.3.4", "The header of the message is too big", "header-too-big")
R553_NEEDS_SMTPUTF8 = refusal(553, "5.6.7", "Non-ASCII address without SMTPUTF8", "smtputf8")
R554_EARLY = refusal(554, "5.5.0", "You did not wait for our reply, closing the connection", "early-talker")
R554_EARLY_TLS = refusal(554, "5.5.0", "Nothing may follow STARTTLS, closing the connection", "early-talker")
R554_LOOP = refusal(554, "5.4.6", "Too many hops, the message loops", "loop")
R555_PARAMETER_UNKNOWN = refusal(555, "5.5.4", "Parameter not recognized", "parameter")


def greeting(hostname: str, protocol: str = "ESMTP") -> Reply:
    """The 220 that opens a session (RFC 5321 section 4.2; RFC 2033 section 4.1 for LMTP)."""
    return reply(220, "", f"{hostname} {protocol}")


def hello(hostname: str) -> Reply:
    """The answer to HELO."""
    return reply(250, "", hostname)


def extended_hello(hostname: str, keywords: list[str]) -> Reply:
    """The answer to EHLO: our name, then a line for each service extension (RFC 5321 section 4.1.1.1)."""
    lines = [hostname, *keywords]
    text = "".join(f"250-{line}\r\n" for line in lines[:-1]) + f"250 {lines[-1]}\r\n"
    return Reply(250, text.encode())


def chunk(size_bytes: int) -> Reply:
    """The 250 to a BDAT that was not the last (RFC 3030 section 2)."""
    return Reply(250, b"250 2.0.0 %d bytes received\r\n" % size_bytes)


def queued(queue_id: str) -> Reply:
    """The 250 that takes responsibility for a message (RFC 5321 section 4.2.5)."""
    return Reply(250, b"250 2.0.0 OK queued as %b\r\n" % queue_id.encode())
