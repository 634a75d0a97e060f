"""Every exception the project raises on purpose.

One tree. Each class says who is to blame, whether another try can help, and what follows from it: an exit code for a
process, a reply class for a session. A refusal of mail is not an exception but a value (`mta.smtp.replies`); what
stands here is for surprises. Foreign exceptions are translated once, at the edge where they enter.
"""

EX_OK = 0
EX_USAGE = 64  # sysexits.h; a wrong command line
EX_UNAVAILABLE = 69  # a listening address cannot be bound, or the spool belongs to another mta that runs
EX_SOFTWARE = 70  # a fault of ours
EX_OSERR = 71  # the system refused something basic
EX_TEMPFAIL = 75  # the other side (a running queue manager, a table) does not answer
EX_CONFIG = 78  # the configuration is wrong


class MtaError(Exception):
    """Base of all. `exit_code` is what a process ends with when nobody handles it."""

    exit_code = EX_SOFTWARE


class ConfigError(MtaError):
    """The administrator's to mend. `problems` has every fault found, each as `file:line: what, and what is allowed`."""

    exit_code = EX_CONFIG

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class SpoolError(MtaError):
    """The spool cannot take or give a message. On the wire: 452 4.3.1, try again later."""

    exit_code = EX_OSERR


class SpoolFull(SpoolError):
    """No space, no quota, or a read-only disk. Heals by itself when space is back."""


class SpoolFailed(SpoolError):
    """Writing or syncing failed for another reason. What was being written is not accepted."""


class SpoolTaken(SpoolError):
    """Another supervisor works on this spool. Stop that one first."""

    exit_code = EX_UNAVAILABLE


class SpoolCorrupt(SpoolError):
    """Bytes on disk are not what was written there. Never skipped in silence; says the file and the offset."""

    def __init__(self, path: str, offset_bytes: int, reason: str) -> None:
        super().__init__(f"{path}: offset {offset_bytes}: {reason}")
        self.path = path
        self.offset_bytes = offset_bytes
        self.reason = reason


class PeerError(MtaError):
    """A next hop, or a client, broke the conversation (garbage, silence, a reset). Trying again later may help."""


class TableDown(MtaError):
    """A table cannot be asked, so that nobody knows. Never to be taken for "not there": on the wire 451 4.4.3.

    `of_key` is whether it did answer, soon, and only about the key in question: it may know others.
    """

    exit_code = EX_TEMPFAIL

    def __init__(self, reason: str, *, of_key: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.of_key = of_key


class IpcError(MtaError):
    """A process of ours said something another one does not understand, or went away in the middle."""


class ListenError(MtaError):
    """A configured address cannot be listened on."""

    exit_code = EX_UNAVAILABLE
