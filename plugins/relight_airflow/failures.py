"""How a task fails: with an error that people can read, and without a stack that they cannot use.

Airflow logs a traceback for whatever ends a task, but not for SystemExit, for which it logs one
line. So that is what a failed step ends its task with, after the error itself was logged. A
mistake in the code is no error of Relight's and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from relight.errors import RelightError
from relight.operating_system import machine_errors
from relight_airflow.live import keep_error


class TaskFailed(SystemExit):
    """Ends a task whose error has been logged. Its text is the error with its hint, on one line."""

    def __init__(self, error: RelightError) -> None:
        super().__init__(1)
        self.error = error

    def __str__(self) -> str:
        return self.error.with_hint()


class FailedForNow(TaskFailed):
    """Another try may help."""


class FailedForGood(TaskFailed):
    """It would fail again."""


@contextmanager
def plain_errors(log: Any) -> Iterator[None]:
    """Log an error of Relight's as what went wrong, on what, why and what to do, and fail the task.

    :raises TaskFailed: whether a retry can help is its type, which the tasks' retry policy reads.
    """
    try:
        with machine_errors():
            yield
    except RelightError as error:
        log.error("%s", error.what)
        for name in ("on", "why", "hint"):
            if text := getattr(error, name):
                log.error("  %s: %s", name, text)
        keep_error(error, log)
        raise (FailedForNow(error) if error.retryable else FailedForGood(error)) from None
