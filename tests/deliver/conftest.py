"""What tests of delivery share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mta import log
from mta.config import Log
from mta.log_reader import Record, parse


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Callable[[], list[Record]]]:
    """What the log says of TLS so far."""
    log.setup("deliver", 0, Log(file=str(tmp_path / "log")))

    def read() -> list[Record]:
        log.flush()
        records = [parse(line) for line in (tmp_path / "log").read_text().splitlines()]
        return [record for record in records if record and record["event"] == "tls_result"]

    yield read
    log.setup("deliver", 0, Log())
