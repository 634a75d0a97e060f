"""When a deferred message is tried again, and when it is given up. Time and chance are arguments."""

import random

from mta.config import Queue

SPREAD = 0.1  # a wait is up to this much longer, so that what failed together does not come back in one instant


def wait_s(attempts: int, queue: Queue, rng: random.Random, *, asked_s: float = 0.0) -> float:
    """Seconds until the next attempt after `attempts` of them: the shortest wait, doubled each time, up to the longest.

    A destination may have asked for a longer wait, `asked_s`; that, too, is bounded by the longest.
    A message that was deferred without an attempt (its destination is suspended) waits as after the first; with its age
    as `asked_s`, so that a large backlog for a destination that is down is not turned over every few minutes.
    """
    doublings = min(max(attempts - 1, 0), 32)  # beyond, the longest wait was reached long ago
    wait = max(queue.retry_min_s * float(1 << doublings), asked_s) * (1.0 + SPREAD * rng.random())
    return min(wait, max(queue.retry_min_s, queue.retry_max_s))


def is_late(received_wall: float, now_wall: float, queue: Queue) -> bool:
    """Whether the sender of a message that still waits is to be warned."""
    return 0 < queue.delay_warning_s <= now_wall - received_wall


def is_expired(received_wall: float, now_wall: float, queue: Queue) -> bool:
    """Whether a message is too old to be deferred once more."""
    return now_wall - received_wall >= queue.lifetime_s
