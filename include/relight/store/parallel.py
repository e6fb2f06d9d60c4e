"""Several pieces of work at once, a bounded number of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(work: Callable[[Item], Result], items: Iterable[Item], at_once: int) -> list[Result]:
    """``work`` of every item, in the order of the items, at most ``at_once`` of them running.

    Items are drawn only as room becomes free, so they may hold memory. The first failure is
    raised after the pieces already running have ended; no further ones are begun.
    """
    results: dict[int, Result] = {}
    waiting = iter(enumerate(items))
    with ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="relight") as pool:
        running: dict[Future[Result], int] = {}
        while True:
            for number, item in islice(waiting, at_once - len(running)):
                running[pool.submit(work, item)] = number
            if not running:
                return [results[number] for number in sorted(results)]
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                results[running.pop(future)] = future.result()
