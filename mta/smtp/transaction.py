"""A mail transaction: from MAIL until its message is answered, or until it is dropped whole (RFC 5321 section 3.3)."""

from mta.smtp.parameters import MailParameters, RcptParameters

NO_MAIL_PARAMETERS = MailParameters()
NO_RCPT_PARAMETERS = RcptParameters()


class Transaction:
    """Who sends to whom, and what was asked for besides. `recipients` are the forward-paths in order."""

    __slots__ = ("_given", "parameters", "recipients", "sender")

    def __init__(self, sender: bytes, parameters: MailParameters = NO_MAIL_PARAMETERS) -> None:
        self.sender = sender
        self.parameters = parameters
        self.recipients: list[bytes] = []
        self._given: dict[int, RcptParameters] = {}  # by the recipient's index; few ask for anything

    def add(self, recipient: bytes, parameters: RcptParameters = NO_RCPT_PARAMETERS) -> None:
        """One more recipient, as it is to be kept in the envelope."""
        if parameters is not NO_RCPT_PARAMETERS:
            self._given[len(self.recipients)] = parameters
        self.recipients.append(recipient)

    @property
    def wants_notices(self) -> bool:
        """Whether anything was said about delivery status notifications (RFC 3461 section 4)."""
        return bool(self._given or self.parameters.ret or self.parameters.envid)

    def recipient_parameters(self) -> list[RcptParameters]:
        """What was given for each recipient, in order."""
        return [self._given.get(index, NO_RCPT_PARAMETERS) for index in range(len(self.recipients))]
