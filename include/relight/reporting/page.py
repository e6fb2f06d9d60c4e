"""The page of a run for people: self-contained, printable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import jinja2

from relight.backups.manifest import Value
from relight.errors import ObjectCorrupt, ObjectMissing
from relight.reading import read_json
from relight.rehearsal.history import ShardHistory, coverage
from relight.reporting.report import Report
from relight.reporting.words import size
from relight.site import Run
from relight.step_records import PROVING, RESTORING, StepRecord, elapsed
from relight.store.base import Store

WITHIN_DAYS: Final = 30.0
"""A shard whose proof is older counts as not proved."""
TEMPLATES = Path(__file__).parents[1] / "templates"


def render_page(report: Report, fleet: Sequence[ShardHistory] = ()) -> str:
    """One self-contained HTML page.

    :param fleet: what rehearsals have proved of each shard, for the page of a rehearsal.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters["size"] = size
    return environment.get_template("report.html.j2").render(
        fleet=fleet, coverage=coverage(fleet, report.written_at, WITHIN_DAYS), **values_of(report)
    )


def values_of(report: Report) -> dict[str, Any]:
    """What the parts of a report are made from."""
    return {
        "report": report, "hints": report.hints(), "totals": report.totals_per_step(), "bars": _bars(report.steps),
        "checks": report.checks_in_sum(), "lanes": lane_speeds(report.steps),
        "restoring": elapsed(report.steps, RESTORING), "proving": elapsed(report.steps, PROVING),
    }  # fmt: skip


def newest_page(store: Store, run: Run) -> str | None:
    """The last report page that a run has left in the store; None: none yet."""
    for key in _newest_first(store, run, ".html"):
        try:
            return store.get(key).decode("utf-8", errors="replace")
        except (ObjectCorrupt, ObjectMissing):
            continue
    return None


def newest_report(store: Store, run: Run) -> Report | None:
    """The last report that a run has left in the store; None: none yet that can be read here."""
    for key in _newest_first(store, run, ".json"):
        try:
            return read_json(Report, store.get(key), on=key, what="a report")
        except (ObjectCorrupt, ObjectMissing):
            continue  # one before it may be whole
    return None


def _newest_first(store: Store, run: Run, ending: str) -> list[str]:
    keys = [entry.key for entry in store.list(f"{run.folder_key}/report-") if entry.key.endswith(ending)]
    return keys[::-1]


class _Bar(Value):
    """One attempt in the timeline; positions in percent of the whole run."""

    label: str
    left: float
    width: float
    seconds: float
    failed: bool


def _bars(steps: tuple[StepRecord, ...]) -> list[_Bar]:
    if not steps:
        return []
    start = min(s.started for s in steps)
    whole = max((max(s.ended for s in steps) - start).total_seconds(), 0.001)
    return [
        _Bar(
            label=f"{s.step} {s.summary.get('label', s.key)}".strip(),
            left=round(100 * (s.started - start).total_seconds() / whole, 3),
            width=round(max(100 * s.seconds / whole, 0.15), 3),
            seconds=round(s.seconds, 2),
            failed=s.outcome == "failed",
        )
        for s in steps
    ]  # fmt: skip


class LaneSpeed(Value):
    """How fast a task replayed its lanes, in words; ``width`` in percent of the fastest."""

    label: str
    amount: str
    seconds: float
    speed: str
    width: float


def _number(record: StepRecord, name: str) -> float:
    """A number of what a step came to; 0 where its record, whoever has written it, does not have it."""
    found = record.summary.get(name)
    return float(found) if isinstance(found, int | float) and math.isfinite(found) else 0.0


def lane_speeds(steps: Sequence[StepRecord]) -> list[LaneSpeed]:
    """Those that succeeded, the slowest to end first: it decided when replay was over."""
    last = {record.key: record for record in steps if record.step == "replay" and record.outcome == "done"}
    told = [
        (str(r.summary.get("label", r.key)), _number(r, "bytes"), max(_number(r, "seconds"), 0.001))
        for r in sorted(last.values(), key=lambda r: r.seconds, reverse=True)
    ]
    fastest = max((amount / seconds for _, amount, seconds in told), default=0.0) or 1.0
    return [
        LaneSpeed(
            label=label, amount=size(amount), seconds=round(seconds, 2), speed=f"{size(amount / seconds)}/s",
            width=round(100 * amount / seconds / fastest, 2),
        )
        for label, amount, seconds in told
    ]  # fmt: skip
