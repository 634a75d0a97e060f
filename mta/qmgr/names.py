"""The names that recipients are counted by: domains, in small letters, as text."""

NULL_SENDER = "MAILER-DAEMON"  # as with qshape


def text(data: bytes) -> str:
    """Bytes of a peer as text, whatever they are."""
    return data.decode("utf-8", "backslashreplace")


def domain_of(address: bytes) -> bytes:
    """The domain of an address, in small letters; empty where it has none."""
    return address.rpartition(b"@")[2].lower() if b"@" in address else b""


def domain_name(address: bytes) -> str:
    """The domain that a recipient counts for."""
    return text(domain_of(address))


def sender_name(sender: bytes) -> str:
    """The domain that a sender's mail counts for."""
    return text(domain_of(sender)) if sender else NULL_SENDER
