"""The cases we measure, and what each has to reach against Postfix."""

from dataclasses import dataclass

from bench.dialogue import Style
from bench.loads import Load, Sender, SmtpSource

KIB = 1024
MB = 1_000_000


@dataclass(frozen=True)
class Case:
    """One case: the load, what becomes of the mail, how many messages make a round, and the aim.

    `destination` is discard, maildir, maildir-synced, relay or lmtp. A round should last several seconds on either
    side, so each side has its own number of messages. `speed` is the least ratio of finished messages a second, `cpu`
    the greatest ratio of CPU time for a message; 0 where nothing is demanded.
    """

    name: str
    title: str
    load: Load
    destination: str
    postfix_messages: int
    mta_messages: int
    speed: float
    cpu: float = 0.0


CASES = (
    Case(
        "single",
        "one message per connection, to discard",
        SmtpSource(20, 4 * KIB, False),
        "discard",
        4_000,
        18_000,
        3.5,
        1 / 4,
    ),
    Case("reused", "connections reused, to discard", SmtpSource(20, 4 * KIB, True), "discard", 4_000, 40_000, 7, 1 / 8),
    Case(
        "sessions-200",
        "connections reused, 200 sessions, to discard",
        SmtpSource(200, 4 * KIB, True),
        "discard",
        4_000,
        40_000,
        8,
        1 / 10,
    ),
    Case("maildir", "connections reused, to maildir", SmtpSource(20, 4 * KIB, True), "maildir", 4_000, 20_000, 5),
    Case(
        "maildir-synced",
        "connections reused, to maildir, Postfix's names synced as well",
        SmtpSource(20, 4 * KIB, True),
        "maildir-synced",
        4_000,
        20_000,
        5,
    ),
    Case(
        "relay",
        "connections reused, relayed over SMTP to smtp-sink",
        SmtpSource(20, 4 * KIB, True),
        "relay",
        2_000,
        12_000,
        5,
    ),
    Case(
        "lmtp",
        "connections reused, over LMTP to Dovecot",
        SmtpSource(20, 4 * KIB, True, numbered=True),
        "lmtp",
        2_000,
        8_000,
        3,
    ),
    Case("large", "1 MB messages, to discard", SmtpSource(20, MB, False), "discard", 1_000, 3_000, 3),
    Case(
        "pipelined",
        "pipelined: MAIL, RCPT and DATA in one write; connections reused, to discard",
        Sender(sessions=20, message_bytes=4 * KIB),
        "discard",
        4_000,
        40_000,
        3,
    ),
    Case(
        "bdat",
        "BDAT: commands and content in one write; connections reused, to discard",
        Sender(sessions=20, message_bytes=4 * KIB, style=Style.BDAT),
        "discard",
        4_000,
        40_000,
        3,
    ),
    Case(
        "recipients",
        "messages to 100 recipients, pipelined; connections reused, to discard",
        Sender(sessions=20, message_bytes=4 * KIB, recipients=100),
        "discard",
        300,
        6_000,
        0,
    ),
    Case(
        "starttls",
        "STARTTLS, a full handshake and a connection for each message, to discard",
        Sender(sessions=20, message_bytes=4 * KIB, reuse_connections=False, starttls=True, processes=2),
        "discard",
        1_500,
        5_000,
        1.0,
    ),
    Case(
        "starttls-reused",
        "STARTTLS, connections reused, to discard",
        Sender(sessions=20, message_bytes=4 * KIB, starttls=True),
        "discard",
        4_000,
        30_000,
        0,
    ),
)

# Comparisons that have no Postfix side.
IDLE_LOAD = SmtpSource(20, 4 * KIB, True)
IDLE_MESSAGES = 40_000
IDLE_SESSIONS = 10_000
IDLE_THROUGHPUT = 0.9  # least throughput beside the idle sessions, as a part of that without them
IDLE_BYTES = 30_000  # greatest memory of an idle session
SLOW_SESSIONS = 5_000
SLOW_PERIOD_S = 5.0  # between two bytes of one of them
SLOW_THROUGHPUT = 0.9
SLOW_CUT = 1.1  # greatest time after which half of them are cut, as a part of command_timeout_s
GENERATOR_SHARE = 0.9  # greatest part of its time that our load generator may work: else it is what is measured
SINK_LOAD = SmtpSource(20, 4 * KIB, False)
SINK_MESSAGES = 18_000
SINK_CPU = 3.5  # greatest ratio of our CPU time for a message to smtp-sink's

NAMES = (*(case.name for case in CASES), "idle", "slow-loris", "sink")
