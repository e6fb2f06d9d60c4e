"""What attempts at steps leave in the store: reports, timings and forecasts are made of it.

They lie under ``<shard>/runs/<run id>/steps/``, one object per attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, Literal

from pydantic import AwareDatetime, Field

from relight.backups.manifest import Value
from relight.errors import ObjectCorrupt, ObjectExists, ObjectMissing
from relight.reading import read_json
from relight.site import Run
from relight.store.base import Store

RESTORING: Final = frozenset({"plan", "guard", "restore", "lanes", "split", "replay"})
PROVING: Final = frozenset({"validate", "judge"})


class StepRecord(Value):
    """One attempt at one step. ``key`` tells mapped steps apart: a segment, a group, a database, a server."""

    step: str
    key: str
    started: AwareDatetime
    ended: AwareDatetime
    outcome: Literal["done", "failed"]
    error: str = ""
    hint: str = ""
    """What to do about the error."""
    summary: dict[str, Any] = Field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.ended - self.started).total_seconds()


def load_records(store: Store, run: Run, say: Callable[[str], None] = lambda _text: None) -> list[StepRecord]:
    """Every attempt of the run so far, in the order they began. A record that cannot be read is passed over.

    :param say: told of each of these.
    """
    found = []
    for entry in store.list(f"{run.folder_key}/steps/"):
        try:
            found.append(read_json(StepRecord, store.get(entry.key), on=entry.key, what="a step's record"))
        except (ObjectCorrupt, ObjectMissing) as error:
            say(f"passed over: {error}")
    return sorted(found, key=lambda record: record.started)


def keep_record(store: Store, run: Run, record: StepRecord) -> None:
    """Leave the record of an attempt."""
    readable = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in record.key)[:100]
    name = f"{record.step}.{readable}" if readable else record.step
    key = f"{run.folder_key}/steps/{name}.{record.started:%Y%m%dT%H%M%S%f}.json"
    try:
        store.put(key, record.model_dump_json().encode("utf-8"))
    except ObjectExists:
        pass  # a retry inside the store client: the first one went through after all


def last_done(records: Iterable[StepRecord], step: str) -> StepRecord | None:
    """The last attempt at a step that succeeded."""
    found = [record for record in records if record.step == step and record.outcome == "done"]
    return found[-1] if found else None


def elapsed(records: Iterable[StepRecord], steps: Collection[str]) -> float:
    """Seconds from the first beginning to the last end of these steps; 0 where there was none."""
    mine = [record for record in records if record.step in steps]
    if not mine:
        return 0.0
    return round((max(r.ended for r in mine) - min(r.started for r in mine)).total_seconds(), 3)
