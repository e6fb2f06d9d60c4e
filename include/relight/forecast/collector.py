"""Python's search for cycles of dead objects, put off while many values are computed.

Forecasts of a large fleet are a million small values that live until the end and point one way. The search finds
nothing among them, and looks at all of them again and again as they become more: without it they take half of the time.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collection_put_off() -> Iterator[None]:
    """For a ``with`` statement or as a decorator. Nested and concurrent uses are right: the search may only come back a
    little early."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
