"""The backlog that is measured is one that a queue manager takes for its own, and the measurement comes to its end."""

from pathlib import Path

from queuetools import bench

from bench.backlog import Figures, build, measure

COUNT = 300


def test_what_was_built_waits_and_is_whole(tmp_path: Path) -> None:
    build(tmp_path, COUNT)
    with bench(tmp_path) as queue:
        queue.clock.elapsed_s = -1e9  # before they are due
        assert queue.work() == []
        assert queue.counts() == (COUNT, 0, COUNT, 0)
        assert queue.stats()["unread"] == 0
        items = queue.ask("list", limit=1)
        shown = queue.ask("show", id=items[0]["id"])
        assert shown[0]["client"] == "192.0.2.1"  # the record lies where its row says
        assert len(queue.ask("delete", all=True)) == 1
        assert queue.counts() == (0, 0, 0, 0)


def test_the_whole_measurement(tmp_path: Path) -> None:
    figures = measure(tmp_path, COUNT, rounds=1, sent=50)
    assert figures.messages == COUNT
    assert 0 < figures.accept_s <= figures.deliver_s
    assert figures.memory_mb > 1
    assert len(figures.empty) == len(figures.waiting) == 1
    assert min(*figures.empty, *figures.waiting, figures.stats_s) > 0


def test_aims() -> None:
    good = Figures(1, 1.0, 2.0, 100.0, 0.5, [100.0, 90.0, 110.0], [95.0])
    assert good.missed() == []
    bad = Figures(1, 2.1, 10.1, 251.0, 1.1, [100.0], [89.0])
    assert bad.missed() == ["accept_s", "deliver_s", "memory_mb", "stats_s", "ratio"]
