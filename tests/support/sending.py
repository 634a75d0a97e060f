"""A client's conversation up to where a test begins: what tests of the sending side start from."""

from mta.smtp.client import Client, Protocol, Step
from mta.smtp.client_mail import Mail

MAIL = Mail(b"a@example.net", (b"joe@example.org",), 100)
TWO = Mail(b"", (b"joe@example.org", b"jim@example.org"), 100)
PIPELINING = b"250-mx\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"
PLAIN = b"250 mx\r\n"
CHUNKING = b"250-mx\r\n250-PIPELINING\r\n250-BINARYMIME\r\n250 CHUNKING\r\n"


def ready(hello: bytes = PIPELINING, protocol: Protocol = Protocol.SMTP) -> Client:
    """A client that has been greeted and answered `hello`."""
    client = Client(b"me.example", protocol)
    client.receive(b"220 mx ESMTP\r\n")
    assert client.take_output() == protocol.value + b" me.example\r\n"
    client.receive(hello)
    assert client.step is Step.READY
    return client


def begun(mail: Mail = TWO, hello: bytes = PIPELINING, protocol: Protocol = Protocol.SMTP) -> Client:
    """A client with the mail's first commands to send."""
    client = ready(hello, protocol)
    client.begin(mail)
    return client


def verdicts(client: Client) -> list[tuple[int, str]]:
    """Status and code of each recipient."""
    return [(verdict.status, verdict.code) for verdict in client.verdicts]
