"""What makes a function a step: an attempt leaves a record in the store, whether it succeeds or fails.

One that was killed leaves none, nor does a mistake in the code.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from relight.backups.manifest import Value
from relight.errors import RelightError, StoreError
from relight.operating_system import machine_errors
from relight.server.locality import is_this_machine
from relight.site import Run, Site
from relight.step_records import StepRecord, keep_record

P = ParamSpec("P")
R = TypeVar("R", bound=Value)


@contextmanager
def _on_this_machine(site: Site, run: Run) -> Iterator[None]:
    """Where a step works on files: the run's own folder, which holds rows of the shard and is nobody else's."""
    try:
        server = run.server(site.fleet)
    except RelightError:  # the step will say what is wrong with the run
        yield
        return
    with machine_errors(str(server.workdir)):
        if is_this_machine(server.host):
            _keep_to_itself(run.folder(site.fleet))
        yield


def _keep_to_itself(folder: Path) -> None:
    folder.parent.parent.mkdir(parents=True, exist_ok=True)
    for one in (folder.parent, folder):
        one.mkdir(mode=_PRIVATE, exist_ok=True)
        if one.stat().st_mode & 0o007:  # made by an earlier version
            one.chmod(_PRIVATE)


_PRIVATE = 0o750

STEP_NAME = "step_name"
"""The attribute of a step that holds its name, as in its records."""


def step(
    name: str,
) -> Callable[[Callable[Concatenate[Site, Run, P], R]], Callable[Concatenate[Site, Run, P], R]]:  # fmt: skip
    """Mark a function as the step ``name``."""

    def mark(function: Callable[Concatenate[Site, Run, P], R]) -> Callable[Concatenate[Site, Run, P], R]:
        @functools.wraps(function)
        def recorded(site: Site, run: Run, /, *args: P.args, **kwargs: P.kwargs) -> R:
            key = "-".join(str(value) for value in (*args, *kwargs.values()))
            started = datetime.now(UTC)
            try:
                with _on_this_machine(site, run):
                    result = function(site, run, *args, **kwargs)
            except RelightError as error:
                failure = StepRecord(
                    step=name, key=key, started=started, ended=datetime.now(UTC), outcome="failed", error=str(error),
                    hint=error.hint,
                )  # fmt: skip
                try:
                    keep_record(site.store, run, failure)
                except StoreError as unkept:
                    site.progress.say(f"the failure could not be recorded: {unkept}")
                raise
            keep_record(site.store, run, StepRecord(
                step=name, key=key, started=started, ended=datetime.now(UTC), outcome="done",
                summary=result.model_dump(mode="json"),
            ))  # fmt: skip
            return result

        setattr(recorded, STEP_NAME, name)
        return recorded

    return mark
