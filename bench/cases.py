"""The cases we measure, and what each has to reach against Postfix."""

from dataclasses import dataclass

from bench.measure import Load

KIB = 1024
MB = 1_000_000


@dataclass(frozen=True)
class Case:
    """One case: the load, what becomes of the mail, how many messages make a round, and the aim.

    `destination` is discard, maildir or relay. A round should last several seconds on either side, so each side has its
    own number of messages. `speed` is the least ratio of finished messages a second, `cpu` the greatest ratio of CPU
    time for a message; 0 where nothing is demanded.
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
        Load(20, 4 * KIB, False),
        "discard",
        4_000,
        18_000,
        3.5,
        1 / 4,
    ),
    Case("reused", "connections reused, to discard", Load(20, 4 * KIB, True), "discard", 4_000, 40_000, 7, 1 / 8),
    Case(
        "sessions-200",
        "connections reused, 200 sessions, to discard",
        Load(200, 4 * KIB, True),
        "discard",
        4_000,
        40_000,
        8,
        1 / 10,
    ),
    Case("maildir", "connections reused, to maildir", Load(20, 4 * KIB, True), "maildir", 4_000, 20_000, 4),
    Case(
        "relay",
        "connections reused, relayed over SMTP to smtp-sink",
        Load(20, 4 * KIB, True),
        "relay",
        2_000,
        12_000,
        5,
    ),
    Case("large", "1 MB messages, to discard", Load(20, MB, False), "discard", 1_000, 3_000, 3),
)

# Two comparisons that have no Postfix side.
IDLE_LOAD = Load(20, 4 * KIB, True)
IDLE_MESSAGES = 40_000
IDLE_SESSIONS = 10_000
IDLE_THROUGHPUT = 0.9  # least throughput beside the idle sessions, as a part of that without them
IDLE_BYTES = 30_000  # greatest memory of an idle session
SINK_LOAD = Load(20, 4 * KIB, False)
SINK_MESSAGES = 18_000
SINK_CPU = 3.5  # greatest ratio of our CPU time for a message to smtp-sink's

NAMES = (*(case.name for case in CASES), "idle", "sink")
