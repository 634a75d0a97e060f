"""The envelope that is stored with a message, our Received field included: what the session knows, put together."""

from time import time

from mta import envelope
from mta.envelope import COPY, Dsn, Envelope
from mta.fastparse import Unstuffer
from mta.server.client import Client
from mta.server.tls_stream import TlsFacts
from mta.smtp import trace, xfer
from mta.smtp.session import Session
from mta.smtp.transaction import Transaction

LINE_BYTES = 998  # of a line, CR LF not counted (RFC 5321 section 4.5.3.1.6)


def encoded(
    queue_id: bytes,
    transaction: Transaction,
    session: Session,
    client: Client,
    facts: Unstuffer,
    *,
    hostname: bytes,
    listener: str,
    tls: TlsFacts | None,
    is_normalised: bool,
    lifetime_s: float,
) -> bytes:
    """The envelope as the spool stores it. `lifetime_s` bounds the age of what another node hands over.

    `facts` is what was counted in the content as it came, `is_normalised` whether its line ends were put right since;
    `tls` is None without TLS.
    """
    recipients = transaction.recipients
    parameters = transaction.parameters
    now_wall = time()
    protocol = client.protocol or trace.protocol(
        extended=session.extended, lmtp=session.is_lmtp, smtputf8=parameters.smtputf8, tls=session.tls_active
    )
    handed_wall = parameters.arrived_wall  # of what is handed over: when it was accepted first
    vias = transaction.vias
    helo = client.helo or session.helo
    field = trace.received(
        helo=helo,
        client=client.literal,
        client_name=client.name.encode(),
        hostname=hostname,
        protocol=protocol.encode(),
        queue_id=queue_id,
        recipient=transaction.first if transaction.accepted == 1 else b"",
        when=trace.date(int(now_wall)),
        tls=tls.comment if tls is not None else b"",
    )
    return envelope.encode(
        Envelope(
            sender=transaction.sender,
            recipients=tuple(recipients),
            received_wall=xfer.kept_arrival(handed_wall, now_wall, lifetime_s) if handed_wall else now_wall,
            client=client.text,
            helo=helo,
            protocol=protocol,
            session=client.session_id,
            eight_bit=parameters.eight_bit or facts.eight_bit > 0,
            smtputf8=parameters.smtputf8 or (vias is not None and _needs_smtputf8(recipients)),
            trace=field,
            dsn=_dsn(transaction) if transaction.wants_notices else None,
            binary=parameters.binary and not _is_text(facts),
            bare_newlines=not (is_normalised or parameters.binary) and _has_bare_newlines(facts),
            require_tls=parameters.require_tls,
            listener=listener,
            via=() if vias is None else _via(vias),
        )
    )


def _via(vias: list[tuple[str, bool]]) -> tuple[str, ...]:
    if not any(via for via, _ in vias):
        return ()
    return tuple([COPY + via if is_copy else via for via, is_copy in vias])


def _needs_smtputf8(recipients: list[bytes]) -> bool:
    """Whether an alias has led to an address that is not in ASCII."""
    return not all(map(bytes.isascii, recipients))


def _has_bare_newlines(facts: Unstuffer) -> bool:
    """Whether some server might see a line end, or an end of data, where there is none. (Some drop NULs first.)"""
    return facts.bare_lf or facts.bare_cr or facts.nul


def _is_text(facts: Unstuffer) -> bool:
    """Whether content is fit for DATA, whatever its sender declared: most BINARYMIME is text, few next hops take it."""
    return not _has_bare_newlines(facts) and facts.longest_line <= LINE_BYTES


def _dsn(transaction: Transaction) -> Dsn:
    each = transaction.recipient_parameters()
    return Dsn(
        ret=transaction.parameters.ret,
        envid=transaction.parameters.envid,
        notify=tuple(one.notify for one in each),
        orcpt=tuple(one.orcpt for one in each),
    )
