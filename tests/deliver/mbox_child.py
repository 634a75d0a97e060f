"""Delivers to an mbox file again and again, and says up to which message: `mbox_child.py FOLDER FIRST`."""

import sys

from mta.deliver.disk import Disk
from mta.deliver.mailbox import open_root
from mta.deliver.mbox import MboxWriter, Places
from tests.support.deliveries import FakeMessage, FakeMessages, Outcomes, mail

CHUNK = b"0123456789abcdef" * 4096 + b"\r\n"


def message(number: int) -> bytes:
    """The content of a message; each is another."""
    return b"Subject: number %d\r\n\r\n" % number + CHUNK * (number % 5) + b"end of %d\r\n" % number


def main(folder: str, number: int) -> None:
    """Runs until it is killed."""
    places = Places(f"{folder}/{{local}}", "home.example")
    root_fd = open_root(places.root)
    while True:
        batch = range(number, number + 3)
        spool = FakeMessages({n: FakeMessage(mail("joe@example.org"), message(n)) for n in batch})
        ended = MboxWriter(places, root_fd, spool, Disk()).deliver([Outcomes().work(n) for n in batch])
        assert all(result.status == 2 for one in ended for result in one.results), ended
        number += 3
        print(number, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
