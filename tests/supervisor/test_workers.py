"""The supervisor with its real children: the number of SMTP workers changes while clients come and go."""

import signal
import threading
from pathlib import Path

from tests.support.load import RawClient
from tests.support.server import Server


def reload(server: Server, workers: int) -> None:
    """Have another number of SMTP workers, and wait until the others are gone."""
    count = server.log.read_text().count("event=reloaded")
    server.settings["processes"] = {"server": workers}
    server.write_config()
    server.signal(signal.SIGHUP)
    server.until(lambda: server.log.read_text().count("event=reloaded") > count, "the reload")
    server.until(lambda: len(server.children("server")) == workers, "the end of the old workers")


def test_fewer_and_more_workers_without_refusing_a_client(tmp_path: Path) -> None:
    with Server(tmp_path, {"processes": {"server": 3}}) as server:
        faults: list[Exception] = []
        sent: list[bytes] = []
        is_over = threading.Event()

        def clients() -> None:
            while not is_over.is_set():
                content = b"Subject: %d\r\n\r\n" % len(sent)
                try:
                    client = RawClient(server.address)
                    client.send("s@example.com", ["user@example.org"], content)
                    client.close()
                    sent.append(content)
                except Exception as error:  # noqa: BLE001 - every kind of fault fails the test
                    faults.append(error)

        thread = threading.Thread(target=clients)
        thread.start()
        try:
            for workers in (1, 2):
                reload(server, workers)
        finally:
            is_over.set()
            thread.join()
        assert not faults
        server.wait_empty()
        assert len(server.delivered()) == len(sent) > 0
