"""The names that recipients are counted by: domains, in small letters, as text."""

NULL_SENDER = "MAILER-DAEMON"  # as with qshape


def text(data: bytes) -> str:
    """Bytes of a peer as text, whatever they are."""
    return data.decode("utf-8", "backslashreplace")


def domain_of(address: bytes) -> bytes:
    """The domain of an address, in small letters; empty where it has none."""
    _, at, domain = address.rpartition(b"@")
    return domain.lower() if at else b""


def domain_name(address: bytes) -> str:
    """The domain that a recipient counts for."""
    _, at, domain = address.rpartition(b"@")  # not by the functions above: this is asked for each row that is written
    return domain.lower().decode("utf-8", "backslashreplace") if at else ""


def sender_name(sender: bytes) -> str:
    """The domain that a sender's mail counts for."""
    return domain_name(sender) if sender else NULL_SENDER
