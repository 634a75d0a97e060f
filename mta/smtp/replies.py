"""Every reply the server can give, named `R` + code + what it says.

A `Reply` is a constant: its bytes are made once, here. Text that depends on the occasion (our name, a queue id) is
made by the functions at the end. Codes are those of RFC 5321 section 4.2.3, enhanced codes those of RFC 3463 and its
registry; neither the greeting, the answers to HELO and EHLO nor 354 carry an enhanced code (RFC 2034 section 4).
"""

import msgspec


class Reply(msgspec.Struct, frozen=True, gc=False):
    """One reply. `wire` is what is sent, CR LF included; `code` its three digits as a number."""

    code: int
    wire: bytes

    @property
    def text(self) -> str:
        """The reply on one line, without its line ends, for logs and people."""
        return self.wire.decode("utf-8", "replace").strip().replace("\r\n", " / ")


def reply(code: int, enhanced: str, text: str) -> Reply:
    """A one-line reply; `enhanced` is empty where none belongs."""
    status = f"{enhanced} " if enhanced else ""
    return Reply(code, f"{code} {status}{text}\r\n".encode())


R214_HELP = reply(214, "2.0.0", "Commands: HELO EHLO MAIL RCPT DATA RSET NOOP QUIT HELP VRFY (RFC 5321)")
R221_BYE = reply(221, "2.0.0", "Bye")
R250_OK = reply(250, "2.0.0", "OK")
R250_SENDER = reply(250, "2.1.0", "Sender OK")
R250_RECIPIENT = reply(250, "2.1.5", "Recipient OK")
R252_VRFY = reply(252, "2.0.0", "Cannot verify, but will take mail and try to deliver it")
R354_GO_AHEAD = reply(354, "", "End data with <CR><LF>.<CR><LF>")

R421_SHUTDOWN = reply(421, "4.3.2", "Service is going down, try again later")
R421_TIMEOUT = reply(421, "4.4.2", "Timeout, closing the connection")
R421_TOO_MANY_ERRORS = reply(421, "4.7.0", "Too many errors, closing the connection")
R421_TOO_MANY_CONNECTIONS = reply(421, "4.3.2", "Too many connections, try again later")
R451_LOCAL_ERROR = reply(451, "4.3.0", "Error in processing, try again later")
R452_STORAGE = reply(452, "4.3.1", "Out of storage, try again later")
R452_BUSY = reply(452, "4.3.2", "Out of memory, try again later")
R452_TOO_MANY_RECIPIENTS = reply(452, "4.5.3", "Too many recipients, send the others in another transaction")

R500_UNKNOWN = reply(500, "5.5.1", "Command not recognized")
R500_LINE_TOO_LONG = reply(500, "5.5.2", "Line too long")
R500_BARE_LF = reply(500, "5.5.2", "Lines must end in CR LF")
R501_HELO_SYNTAX = reply(501, "5.5.4", "Syntax: HELO domain or EHLO domain")
R501_MAIL_SYNTAX = reply(501, "5.5.4", "Syntax: MAIL FROM:<address> [parameters]")
R501_RCPT_SYNTAX = reply(501, "5.5.4", "Syntax: RCPT TO:<address> [parameters]")
R501_SENDER_DOMAIN = reply(501, "5.1.8", "Bad sender domain syntax")
R501_RECIPIENT_DOMAIN = reply(501, "5.1.2", "Bad recipient domain syntax")
R501_NO_ARGUMENT = reply(501, "5.5.4", "This command takes no argument")
R501_SENDER_ADDRESS = reply(501, "5.1.7", "Bad sender address syntax")
R501_RECIPIENT_ADDRESS = reply(501, "5.1.3", "Bad recipient address syntax")
R501_PARAMETER_VALUE = reply(501, "5.5.4", "Bad or repeated parameter")
R502_NOT_IMPLEMENTED = reply(502, "5.5.1", "Command not implemented")
R502_NOT_SMTP = reply(502, "5.7.0", "This is a mail server")
R503_HELLO_FIRST = reply(503, "5.5.1", "Send HELO or EHLO first")
R503_NEED_MAIL = reply(503, "5.5.1", "Need MAIL first")
R503_NEED_RECIPIENT = reply(503, "5.5.1", "Need RCPT first")
R503_NESTED_MAIL = reply(503, "5.5.1", "Sender already given")
R552_TOO_BIG = reply(552, "5.3.4", "Message too big")
R553_NEEDS_SMTPUTF8 = reply(553, "5.6.7", "Non-ASCII address without SMTPUTF8")
R550_BARE_NEWLINE = reply(550, "5.5.2", "Message has a bare CR or LF; lines must end in CR LF")
R550_RELAY = reply(550, "5.7.1", "Relaying denied")
R554_NO_RECIPIENTS = reply(554, "5.5.1", "No valid recipients")
R554_LOOP = reply(554, "5.4.6", "Too many hops, the message loops")
R555_PARAMETER_UNKNOWN = reply(555, "5.5.4", "Parameter not recognized")


def greeting(hostname: str) -> Reply:
    """The 220 that opens a session (RFC 5321 section 4.2)."""
    return reply(220, "", f"{hostname} ESMTP")


def hello(hostname: str) -> Reply:
    """The answer to HELO."""
    return reply(250, "", hostname)


def extended_hello(hostname: str, keywords: list[str]) -> Reply:
    """The answer to EHLO: our name, then a line for each service extension (RFC 5321 section 4.1.1.1)."""
    lines = [hostname, *keywords]
    text = "".join(f"250-{line}\r\n" for line in lines[:-1]) + f"250 {lines[-1]}\r\n"
    return Reply(250, text.encode())


def queued(queue_id: str) -> Reply:
    """The 250 that takes responsibility for a message (RFC 5321 section 4.2.5)."""
    return Reply(250, b"250 2.0.0 OK queued as %b\r\n" % queue_id.encode())
