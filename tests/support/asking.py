"""What a server says about a recipient."""

import smtplib

from tests.support.server import Server

PATIENCE_S = 30.0


def answer(
    server: Server, recipient: str, *, sender: str = "jim@example.com", address: tuple[str, int] | None = None
) -> str:
    """Its reply to RCPT, the code first, on a connection of its own; `address` is another than its first."""
    with smtplib.SMTP(*(address or server.address), timeout=PATIENCE_S) as client:
        client.ehlo("client.example.com")
        assert client.mail(sender)[0] == 250
        code, text = client.rcpt(recipient)
        return f"{code} {text.decode()}"
