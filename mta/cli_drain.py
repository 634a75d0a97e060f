"""`mta drain`: emptying a node, and watching that."""

import importlib
import socket
import sys
import time
from contextlib import suppress
from typing import Any

import click

from mta import config_load, drain
from mta.cli_ask import NOT_DONE, Bar, Unanswered, ask_of
from mta.cli_filters import AGE
from mta.cli_options import config_option
from mta.cli_output import as_json, json_option, print_list
from mta.config import Config
from mta.endpoint import parse_listen
from mta.errors import EX_OK, EX_TEMPFAIL
from mta.supervisor import folder

POLL_S = 0.5  # between two looks at the queue
LINE_S = 5.0  # between two lines about it, where there is no terminal
CONNECT_S = 2.0  # for a connection to ourselves
LISTED = 100  # held and failed messages that are named, of each

Item = dict[str, Any]


@click.command("drain")
@config_option
@json_option
@click.option("--to", default="", metavar="PEER", help="Hand everything to HOST:PORT, or by the transport NAME.")
@click.option("--cancel", "is_cancel", is_flag=True, help="Take the order back: mail is taken again.")
@click.option("--timeout", "timeout_s", type=AGE, metavar="AGE", help="Wait no longer than this: 90s, 10m, 2h.")
def command(config_file: str, is_json: bool, to: str, is_cancel: bool, timeout_s: int | None) -> int:
    """Take no new mail, hand on what is in the queue, and end.

    From now on clients are refused, those at work finish their message. What waits is tried now, and then when it is
    due. With --to everything goes to the peer over SMTP instead, wherever it was to go: waiting, held and failed
    messages, and bounces. When nothing is left, mta run ends with 0. The order holds over restarts, until --cancel.

    \b
    0   the queue is empty, and mta has ended
    1   only messages that are held or have failed are left; they are named
    75  mta does not run, or --timeout is over; what is left is told
    """
    config = config_load.load(config_file)
    if is_cancel:
        if to:
            raise click.UsageError("Give either --to or --cancel.")
        return _cancel(config, timeout_s, is_json=is_json)
    if to:
        try:
            drain.peer(config, to)
        except ValueError as error:
            raise click.UsageError(f"--to: {error}") from None
    next(ask_of(config, "drain", {"to": to}))
    watch = _Watch(config, to, timeout_s, is_json=is_json)
    try:
        return watch.run()
    finally:
        watch.close()


class _Watch:
    """Looking on until there is nothing more to be seen."""

    def __init__(self, config: Config, to: str, timeout_s: int | None, *, is_json: bool) -> None:
        self._config = config
        self._to = to
        self._deadline_at = None if timeout_s is None else time.monotonic() + timeout_s
        self._is_json = is_json
        self._total = 0
        self._last: Item = {}
        self._line_at = 0.0  # monotonic
        self._bar: Bar | None = None
        if sys.stderr.isatty() and not is_json:
            self._bar = importlib.import_module("mta.cli_table").Bar("draining")

    def close(self) -> None:
        """Take the progress bar away."""
        if self._bar is not None:
            self._bar.close()

    def run(self) -> int:
        """Until the queue is empty or does not become so; returns the exit code."""
        while True:
            is_running = folder.is_locked(self._config.spool)  # before it is asked: mail may come until it has ended
            seen = self._look(is_running=is_running)
            if seen is not None:
                self._show(seen)
                if not is_running:
                    return self._ended(seen)
                if self._is_stuck(seen):
                    return self._tell_left(seen, "nothing but this is left")
            if self._deadline_at is not None and time.monotonic() >= self._deadline_at:
                return self._timed_out(seen)
            time.sleep(POLL_S)

    def _look(self, *, is_running: bool) -> Item | None:
        """The counts, or None while the queue manager is being replaced."""
        try:
            return next(ask_of(self._config, "stats"))
        except Unanswered:
            if is_running:
                return None
            raise

    def _is_stuck(self, seen: Item) -> bool:
        """Whether what is left does not go by itself."""
        if not seen["swept"] or bool(self._to) is (seen["draining"] == "deliver"):
            return False  # it has not begun
        moving = seen["unread"] + seen["active"] + seen["waiting"]
        return not moving and bool(seen["held"] + seen["failed"] + seen["corrupt"])

    def _ended(self, seen: Item) -> int:
        if _left(seen):
            self._say(seen, f"mta does not run, and {_words(seen)}; it goes on when it is started")
            return EX_TEMPFAIL
        self._say(seen, "the queue is empty, and mta has ended")
        return EX_OK

    def _timed_out(self, seen: Item | None) -> int:
        last = seen or self._last
        if last and not last["draining"]:
            self._say(last, f"time is over, and mta has not begun to drain (its log says why): {_words(last)}")
        elif last and last["held"] + last["failed"]:
            self._tell_left(last, "time is over")
        else:
            self._say(last, f"time is over, and {_words(last)}; it goes on")
        return EX_TEMPFAIL

    def _tell_left(self, seen: Item, why: str) -> int:
        """Name what is held and has failed."""
        self._say(seen, f"{why}: {_words(seen)}")
        for state in ("held", "failed"):
            if seen[state]:
                found = ask_of(self._config, "list", {"state": state, "limit": LISTED})
                print_list(found, is_json=self._is_json)
        return NOT_DONE

    def _show(self, seen: Item) -> None:
        left = _left(seen)
        self._total = max(self._total, left)
        if self._bar is not None:
            self._bar.update(self._total - left, self._total)
        elif _facts(seen) != _facts(self._last) and time.monotonic() >= self._line_at:
            self._line_at = time.monotonic() + LINE_S
            click.echo(as_json(_facts(seen)) if self._is_json else _words(seen))
        self._last = seen

    def _say(self, seen: Item, words: str) -> None:
        self.close()
        self._bar = None
        click.echo(as_json(_facts(seen) | {"end": words}) if self._is_json else words)


def _left(seen: Item) -> int:
    return int(seen["queued"] + seen["failed"])


def _facts(seen: Item) -> Item:
    """What of the counts is told."""
    if not seen:
        return {}
    keys = ("draining", "unread", "active", "waiting", "held", "failed", "corrupt")
    return {"left": _left(seen)} | {key: seen[key] for key in keys}


def _words(seen: Item) -> str:
    if not seen:
        return "the queue manager has not answered"
    counts = {key: seen[key] for key in ("unread", "active", "waiting", "held", "failed") if seen[key]}
    parts = [f"{key} {count}" for key, count in counts.items()]
    if seen["corrupt"]:
        parts.append(f"damaged places in the log {seen['corrupt']}")
    parts += [f"{name}: {one['suspended']}" for name, one in seen["destinations"].items() if one["suspended"]][:3]
    return f"{_left(seen)} left" + (f" ({', '.join(parts)})" if parts else "")


def _is_listening(config: Config) -> bool:
    """Whether clients are let in; the queue manager does not know, as it is the last that an order reaches."""
    for listen in config.listen:
        with suppress(OSError), socket.create_connection(parse_listen(listen.address), CONNECT_S):
            return True
    return False


def _cancel(config: Config, timeout_s: int | None, *, is_json: bool) -> int:
    """Take the order back, and wait until mail is taken again."""
    done = next(ask_of(config, "undrain"))
    deadline_at = None if timeout_s is None else time.monotonic() + timeout_s
    code, words = EX_OK, "mail is taken again"
    while folder.is_locked(config.spool):
        try:
            if not next(ask_of(config, "stats"))["draining"] and _is_listening(config):
                break
        except Unanswered:
            pass  # it is being replaced
        if deadline_at is not None and time.monotonic() >= deadline_at:
            code, words = EX_TEMPFAIL, "time is over, and mta does not take mail yet"
            break
        time.sleep(POLL_S)
    else:
        words = "mail is taken when mta is started"
    if not done["cancelled"]:
        words = f"there was no order to drain; {words}"
    click.echo(as_json(done | {"end": words}) if is_json else words)
    return code
