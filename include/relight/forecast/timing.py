"""How long the steps of one run took, and what they had to do: forecasts learn from it.

Left by step ``report`` for every run that was proved, of restores and of rehearsals alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from relight.backups.manifest import Value
from relight.errors import ObjectExists
from relight.forecast.values import Load
from relight.forecast.work import AFTERWARDS, BESIDE, BETWEEN, FIRST, IN_ORDER
from relight.site import Run
from relight.step_records import StepRecord, elapsed
from relight.store import layout
from relight.store.base import Store


class StepTime(Value):
    """One step: seconds from its first beginning to its last end, however many tasks it was cut into."""

    step: str
    seconds: Annotated[float, Field(ge=0)]
    tasks: int


class Timing(Value):
    """One run that was proved."""

    version: Literal[1] = 1
    run_id: str
    mode: Literal["promote", "rehearse"]
    ended: AwareDatetime
    load: Load
    """What it had to move, and on which machine: in a rehearsal that is the scratch server's."""
    tables: int
    steps: tuple[StepTime, ...]
    """Only those that went through without a failure in between."""


def timing_of(run: Run, load: Load, tables: int, records: Sequence[StepRecord], ended: datetime) -> Timing:
    """Pure: what a run's records tell about speeds."""
    records = as_foreseen(records)
    tried = [step for step in (*IN_ORDER, AFTERWARDS) if any(record.step == step for record in records)]
    kept = {step: mine for step in tried if (mine := _undisturbed(records, step))}
    times = [StepTime(step=step, seconds=elapsed(mine, {step}), tasks=len(mine)) for step, mine in kept.items()]
    if len(kept) == len(tried):
        times.append(StepTime(step=BETWEEN, seconds=_between(kept), tasks=1))
    return Timing(run_id=run.run_id, mode=run.mode, ended=ended, load=load, tables=tables, steps=tuple(times))


def as_foreseen(records: Sequence[StepRecord]) -> list[StepRecord]:
    """In the order they began; the replicas that were made before the shard was opened under a name of their own."""
    ordered = sorted(records, key=lambda record: record.started)
    opened = min((r.ended for r in ordered if r.step == "promote" and r.outcome == "done"), default=None)
    return [
        record.model_copy(update={"step": FIRST})
        if record.step == AFTERWARDS and (opened is None or record.started < opened) else record
        for record in ordered
    ]  # fmt: skip


def keep_timing(store: Store, timing: Timing) -> None:
    """Leave it in the store."""
    try:
        store.put(layout.timing(timing.ended, timing.run_id), timing.model_dump_json().encode("utf-8"))
    except ObjectExists:
        pass  # a retry inside the store client: the first one went through after all


def _undisturbed(records: Sequence[StepRecord], step: str) -> list[StepRecord]:
    """The first success of each task of the step: a later one finds its work done. Empty if any had failed
    before: hours may lie between a failure and the attempt that somebody has started in the morning."""
    first: dict[str, StepRecord] = {}
    for record in records:
        if record.step == step:
            first.setdefault(record.key, record)
    found = list(first.values())
    return found if all(record.outcome == "done" for record in found) else []


def _between(kept: Mapping[str, list[StepRecord]]) -> float:
    """What passed between the steps, in sum. The wait for a person's decision, which is made after ``judge``, is not
    counted: it says nothing about the next one's."""
    stages = sorted(_stages(kept), key=lambda stage: stage[1])
    gaps = [(after[1] - before[2]).total_seconds() for before, after in pairwise(stages) if before[0] != "judge"]
    return round(sum(max(gap, 0.0) for gap in gaps), 3)


def _stages(kept: Mapping[str, list[StepRecord]]) -> Iterator[tuple[str, datetime, datetime]]:
    """Name, beginning and end of each step before the opening; those that run side by side are one."""
    for names in [*((one,) for one in IN_ORDER if one not in BESIDE), BESIDE]:
        mine = [record for name in names for record in kept.get(name, ())]
        if mine:
            yield names[0], min(r.started for r in mine), max(r.ended for r in mine)
