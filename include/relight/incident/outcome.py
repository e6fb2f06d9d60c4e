"""What came of an incident: per shard, and how far apart the points in time are that the shards were brought to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from relight.backups.manifest import Value
from relight.errors import ObjectCorrupt, ObjectMissing
from relight.incident.conducting import State
from relight.incident.naming import run_id
from relight.planning.target import Target
from relight.reading import read_json
from relight.site import Run
from relight.store import layout
from relight.store.base import Store
from relight.store.parallel import in_parallel


class RunReport(BaseModel):
    """What matters here of a report of :mod:`relight.reporting`; the rest, most of it, is not even kept."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    problems: tuple[str, ...]
    seconds: float
    reaches: AwareDatetime | None
    data_loss_window_s: float | None


class ShardOutcome(Value):
    """What came of one shard. Times in seconds."""

    shard: str
    outcome: Literal["done", "failed"]
    run_id: str
    """Of DAG ``restore``."""
    why: str = ""
    """Why it failed."""
    seconds: float | None = None
    """Of its steps, from the first beginning to the last end. None: it left no report."""
    reaches: datetime | None = None
    data_loss_window_s: float | None = None


class IncidentReport(Value):
    """What came of restoring many shards."""

    version: Literal[1] = 1
    incident: str
    requested_by: str
    target: str
    mode: Literal["promote", "rehearse"]
    began: datetime
    ended: datetime
    at_once: int
    """So many shards were restored at the same time."""
    pools: str = ""
    """Why there were no pools; empty: there were."""
    skew_s: float | None
    """Between the earliest and the latest point in time that shards were brought to. With a target in time every
    shard has the same cut, so 0. None: there are not two."""
    shards: tuple[ShardOutcome, ...]

    @property
    def failed(self) -> tuple[ShardOutcome, ...]:
        """Those that were not restored."""
        return tuple(one for one in self.shards if one.outcome == "failed")

    def in_lines(self) -> list[str]:
        """For a log: one line a shard, and one about all."""
        lines = [_line(one) for one in self.shards]
        seconds = (self.ended - self.began).total_seconds()
        whole = f"{len(self.shards) - len(self.failed)} of {len(self.shards)} shards in {seconds:.0f} s"
        skew = "no two points in time to compare" if self.skew_s is None else f"skew {self.skew_s:.1f} s"
        return [*lines, f"{whole}, {skew}"]


def outcomes(
    store: Store, incident: str, target: Target, states: Mapping[str, State], *, parallel: int
) -> list[ShardOutcome]:
    """What every run has left in the store, in the order of ``states``."""

    def one(shard: str) -> ShardOutcome:
        name = run_id(incident, shard)
        report = _newest_report(store, Run(run_id=f"restore__{name}", shard=shard, target=target))
        return outcome(shard, name, states[shard], report)

    return in_parallel(one, list(states), parallel)


def outcome(shard: str, name: str, state: State, report: RunReport | None) -> ShardOutcome:
    """Pure: a run and its report, in short. What Airflow says of the run counts, a report may be older."""
    failed = state != "done"
    said = "; ".join(report.problems) if report else "it left no report"
    return ShardOutcome(
        shard=shard, outcome="failed" if failed else "done", run_id=name,
        why=(said or "the log of the task that failed says why") if failed else "",
        seconds=report.seconds if report else None, reaches=report.reaches if report else None,
        data_loss_window_s=report.data_loss_window_s if report else None,
    )  # fmt: skip


def skew(target: Target, shards: Sequence[ShardOutcome]) -> float | None:
    """Pure: seconds between the earliest and the latest point in time that was reached. None: there are not two."""
    reached = [one.reaches for one in shards if one.outcome == "done" and one.reaches is not None]
    if len(reached) < 2:
        return None
    return 0.0 if target.kind == "time" else round((max(reached) - min(reached)).total_seconds(), 3)


def keep(store: Store, report: IncidentReport) -> str:
    """Leave the report in the store, and give its key."""
    key = layout.incident(report.incident, datetime.now(UTC))
    store.put(key, report.model_dump_json(indent=1).encode("utf-8"))
    return key


def _newest_report(store: Store, run: Run) -> RunReport | None:
    """The newest that can be read: what Airflow says of the run counts more."""
    keys = [o.key for o in store.list(f"{run.folder_key}/report-") if o.key.endswith(".json")]
    for key in reversed(keys):
        try:
            return read_json(RunReport, store.get(key), on=key, what="a report")
        except (ObjectCorrupt, ObjectMissing):
            continue
    return None


def _line(one: ShardOutcome) -> str:
    if one.outcome == "failed":
        return f"{one.shard}: failed: {one.why}"
    took = "" if one.seconds is None else f" in {one.seconds:.0f} s"
    reached = "" if one.reaches is None else f", reaches {one.reaches:%Y-%m-%dT%H:%M:%SZ}"
    lost = "" if one.data_loss_window_s is None else f", {one.data_loss_window_s:.0f} s are lost"
    return f"{one.shard}: done{took}{reached}{lost}"
