"""Waiting for what a store cannot do just now: bounded, a little longer each time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_chain,
    wait_exponential,
    wait_none,
    wait_random_exponential,
)

from relight.errors import StoreBusy, StoreUnavailable

TRIES: Final = 5
"""Of what is answered with "not now", each of them up to three requests of botocore's: some 10 s in all."""
_WAIT = wait_random_exponential(multiplier=0.3, max=4)


def patiently() -> Retrying:
    """Calls again what raises StoreBusy: ``patiently()(call)``. One that does not answer at all is not waited for."""
    return Retrying(
        retry=retry_if_exception_type(StoreBusy), stop=stop_after_attempt(TRIES), wait=_WAIT, reraise=True
    )  # fmt: skip


def going_on() -> Retrying:
    """For a transfer that breaks in the middle: the first try comes at once, and any byte that arrives counts."""
    return Retrying(
        retry=retry_if_exception_type(StoreUnavailable), stop=stop_after_attempt(TRIES),
        wait=wait_chain(wait_none(), wait_exponential(multiplier=0.4, max=5)), reraise=True,
    )  # fmt: skip


def waits() -> Iterator[float]:
    """Seconds before each further try, for loops that decide for themselves; as many as there are tries."""
    yield 0.0
    for number in range(TRIES - 1):
        yield min(0.2 * 2**number, 3.0)
