"""What a server says about a recipient."""

import smtplib

from tests.support.server import Server

PATIENCE_S = 30.0


def answer(server: Server, recipient: str) -> str:
    """Its reply to RCPT, the code first, on a connection of its own."""
    with smtplib.SMTP(*server.address, timeout=PATIENCE_S) as client:
        client.ehlo("client.example.com")
        client.mail("jim@example.com")
        code, text = client.rcpt(recipient)
        return f"{code} {text.decode()}"
