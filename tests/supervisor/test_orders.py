"""Looking for an order to drain: seldom, and only when the file is another one."""

from pathlib import Path

import pytest

from mta import drain
from mta.drain import Order
from mta.errors import SpoolError
from mta.supervisor.orders import LOOK_S, Orders


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def spool(tmp_path: Path) -> str:
    (tmp_path / "qmgr").mkdir()
    return str(tmp_path)


def test_orders(spool: str) -> None:
    clock = Clock()
    orders = Orders(spool, clock)
    assert orders.order is None
    drain.write(spool, Order(1.0))
    assert not orders.look(), "it is not time yet"
    clock.now += LOOK_S
    assert orders.look()
    assert orders.order == Order(1.0)
    clock.now += LOOK_S
    assert not orders.look()
    drain.write(spool, Order(1.0))
    clock.now += LOOK_S
    assert not orders.look(), "another file, the same order"
    drain.write(spool, Order(2.0, "peer:25"))
    clock.now += LOOK_S
    assert orders.look()
    Path(drain.path(spool)).write_text("nonsense")
    clock.now += LOOK_S
    assert not orders.look()
    assert orders.order == Order(2.0, "peer:25"), "what is no order changes nothing"
    drain.forget(spool)
    clock.now += LOOK_S
    assert orders.look()
    assert orders.order is None


def test_at_once(spool: str) -> None:
    """Before a node that is empty ends, it is seen that the order was taken back a moment ago."""
    drain.write(spool, Order(1.0))
    orders = Orders(spool, Clock())
    drain.forget(spool)
    assert not orders.look()
    assert orders.look(at_once=True)
    assert orders.order is None


def test_order_from_before(spool: str) -> None:
    drain.write(spool, Order(1.0))
    assert Orders(spool, Clock()).order == Order(1.0)
    Path(drain.path(spool)).write_text("nonsense")
    with pytest.raises(SpoolError):
        Orders(spool, Clock())
