"""Calling from the hub, as watchers do, what must not be called from a greenlet that then waits for the hub itself."""

from collections.abc import Callable
from typing import Any

import gevent
from gevent import get_hub
from gevent.event import AsyncResult


def in_hub(call: Callable[..., Any], *arguments: Any) -> Any:
    """Run `call` in the hub's greenlet; returns what it returns."""
    result: AsyncResult[Any] = AsyncResult()
    get_hub().loop.run_callback(lambda: result.set(call(*arguments)))
    with gevent.Timeout(20):
        return result.get()
