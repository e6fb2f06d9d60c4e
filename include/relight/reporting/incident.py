"""Restores while they run, as a page shows them. Pure: what Airflow knows of runs and tasks, made into cards."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from relight.backups.manifest import Value
from relight.forecast.values import Forecast, Span
from relight.reporting.next_steps import WAITING, after_failure, after_success
from relight.reporting.running import LiveBar, RunNow, TaskNow
from relight.reporting.time_left import time_left

Kind = Literal["failed", "waiting", "running", "queued", "success", "replaced"]

WORDS: Final[Mapping[Kind, str]] = {
    "waiting": "waits for a person", "failed": "failed", "running": "running", "queued": "queued", "success": "done",
    "replaced": "failed, replaced since",
}  # fmt: skip
"""What each state is called, the most urgent first."""
CANCELLED: Final = "cancelled"
"""What a failed run is called that somebody has stopped."""
_URGENCY: Final = {kind: place for place, kind in enumerate(WORDS)}

DOING: Final[Mapping[str, str]] = {
    "check": "checking the request", "salvage": "salvaging logs", "plan": "making the plan",
    "guard": "looking for signs of life", "restore_snapshot": "unpacking the full backup",
    "plan_lanes": "planning lanes", "split": "splitting logs", "replay": "replaying logs",
    "replay_put_off": "replaying what was put off", "databases": "listing databases", "validate": "proving",
    "judge": "judging", "approve": "asking a person", "certify": "signing the certificate", "drill": "sabotaging",
    "prepare": "preparing to open", "first_replicas": "rebuilding replicas that must come first",
    "promote": "promoting", "announce": "telling applications", "replicas": "rebuilding replicas",
    "tear_down": "tearing down", "report": "writing the report",
}  # fmt: skip
"""What the tasks of a restore do, in the order in which they do it."""

_OVER = ("success", "failed", "skipped", "upstream_failed", "removed")
_AT_WORK = ("running", "deferred", "up_for_retry", "awaiting_input")


class Stripe(Value):
    """A step of a run in a chart; positions in percent of the whole time that is shown."""

    label: str
    kind: Kind
    left: float
    width: float
    seconds: float
    task: TaskNow


class RunCard(Value):
    """One restore. Times in seconds."""

    now: RunNow
    kind: Kind
    word: str
    doing: str
    """The step that is worked at, in words."""
    done: int
    total: int
    """Tasks that are over, and all that are known so far."""
    bars: tuple[tuple[str, LiveBar], ...]
    """What is worked at this moment: the task's id and its bar."""
    speed: float
    """Of all of these together, in bytes per second."""
    elapsed: float
    left: Span | None
    """Until the shard takes writes again, if the forecast holds. None: nothing is known, or it does already."""
    late: float
    """By how much the upper end of the forecast is exceeded."""
    next: str
    """What to do next, in words; empty while it goes on."""
    failed: tuple[TaskNow, ...]
    asks: tuple[TaskNow, ...]
    stripes: tuple[Stripe, ...] = ()

    @property
    def key(self) -> str:
        """Names the run in a page."""
        return f"{self.now.dag}/{self.now.run}"


class Incident(Value):
    """All restores that are of interest, what needs a person first."""

    at: datetime
    cards: tuple[RunCard, ...]
    counts: tuple[tuple[Kind, str, int], ...]
    began: datetime | None
    span: float
    """Seconds that the chart covers."""
    left: float | None
    """Until the last shard that is being restored is back, if forecasts hold."""
    speed: float

    @property
    def ends(self) -> datetime:
        """The right end of the chart."""
        return (self.began or self.at) + timedelta(seconds=self.span)

    @property
    def active(self) -> int:
        """How many go on."""
        return sum(count for kind, _, count in self.counts if kind in ("running", "waiting", "queued"))


def make_incident(
    runs: Sequence[RunNow], forecasts: Mapping[str, Span], now: datetime, foreseen: Mapping[str, Forecast] | None = None
) -> Incident:
    """:param forecasts: per shard, how long its restore takes until it takes writes, as it was thought before.
    :param foreseen: per run (``dag/run``) that has a forecast of its own, made from its plan, step by step.
    """
    began = min((run.started or run.queued or now for run in runs), default=None)
    span = _span((now - began).total_seconds() if began else 1.0)
    cards = [
        make_card(
            run, forecasts.get(run.shard), now, began or now, span, (foreseen or {}).get(f"{run.dag}/{run.run}"),
            replaced=_is_replaced(run, runs, now),
        )
        for run in runs
    ]  # fmt: skip
    cards.sort(key=lambda card: (_URGENCY[card.kind], card.now.started or now, card.now.shard))
    lefts = [card.left.seconds for card in cards if card.left and card.kind == "running"]
    return Incident(
        at=now, cards=tuple(cards), began=began, span=span, left=max(lefts, default=None),
        counts=tuple((kind, word, sum(card.kind == kind for card in cards)) for kind, word in WORDS.items()),
        speed=sum(card.speed for card in cards),
    )  # fmt: skip


def _span(passed: float) -> float:
    """Rounded up, so that a chart which is drawn anew every few seconds seldom changes its scale."""
    step = next((one for one in _STEPS if one >= passed / 20), passed / 20)
    return max(math.ceil(passed / step) * step, 1.0)


_STEPS: Final = (1, 5, 15, 30, 60, 300, 600, 1800, 3600, 4 * 3600, 24 * 3600)


def _is_replaced(run: RunNow, runs: Iterable[RunNow], now: datetime) -> bool:
    """Whether a failed run is no longer of interest, since a later one does the same."""
    return run.state == "failed" and any(
        (one.shard, one.mode) == (run.shard, run.mode) and _begun(one, now) > _begun(run, now) for one in runs
    )


def _begun(run: RunNow, now: datetime) -> datetime:
    return run.started or run.queued or now


def make_card(
    run: RunNow, forecast: Span | None, now: datetime, began: datetime, span: float, own: Forecast | None = None, *,
    replaced: bool = False,
) -> RunCard:  # fmt: skip
    """One run; ``began`` and ``span`` are what its chart begins with and covers, ``own`` is its own forecast."""
    active = [task for task in run.tasks if task.state in _AT_WORK]
    asks = tuple(task for task in run.tasks if task.waits)
    bars = tuple((task.task, bar) for task in active for bar in task.bars)
    elapsed = ((run.ended or now) - (run.started or run.ended or now)).total_seconds()
    kind = "replaced" if replaced else _kind(run, asks)
    open_again = any(task.task == "promote" and task.state == "success" for task in run.tasks)
    waits = open_again or kind not in ("running", "queued")
    left, late = (None, 0.0) if waits else time_left(run, forecast, own, elapsed, now)
    return RunCard(
        now=run, kind=kind, word=CANCELLED if kind == "failed" and _was_stopped(run) else WORDS[kind],
        doing=_doing(run, active), done=_done(run), next=_next(run, kind, open_again=open_again),
        total=len(run.tasks), bars=bars, speed=sum(bar.speed for _, bar in bars if bar.share < 1), elapsed=elapsed,
        left=left, late=late,
        failed=tuple(task for task in run.tasks if task.state == "failed" and task.task != "watcher"), asks=asks,
        stripes=tuple(_stripes(run.tasks, began, span, now)),
    )  # fmt: skip


def _done(run: RunNow) -> int:
    """How many tasks are over. Those that a run which failed never came to are not."""
    if run.state != "failed":
        return sum(task.state in _OVER for task in run.tasks)
    return sum(task.state == "success" or (task.state == "skipped" and bool(task.started)) for task in run.tasks)


def _was_stopped(run: RunNow) -> bool:
    """A run that fails by itself ends with its watcher. One that somebody marks as failed does not come to that."""
    return any(task.task == "watcher" and task.state != "failed" for task in run.tasks)


def _next(run: RunNow, kind: Kind, *, open_again: bool) -> str:
    if kind == "failed":
        return after_failure(run.mode, stopped=_was_stopped(run), open_again=open_again)
    return after_success(run.shard, run.mode) if kind == "success" else WAITING if kind == "queued" else ""


def _kind(run: RunNow, asks: Sequence[TaskNow]) -> Kind:
    if run.state in ("success", "failed", "queued"):
        return run.state  # type: ignore[return-value] # the three are of Kind
    return "waiting" if asks else "running"


def _doing(run: RunNow, active: Sequence[TaskNow]) -> str:
    order = list(DOING)
    if not active:
        return ""
    names = sorted({task.task for task in active}, key=lambda name: order.index(name) if name in order else len(order))
    name = names[-1]
    mine = [task for task in run.tasks if task.task == name]
    many = f", {sum(task.state in _OVER for task in mine)} of {len(mine)}" if len(mine) > 1 else ""
    retried = ", tried again" if any(task.state == "up_for_retry" for task in active) else ""
    return DOING.get(name, name) + many + retried


_STRIPES: Final[Mapping[str, Kind]] = {"success": "success", "failed": "failed", "awaiting_input": "waiting"}


def _stripes(tasks: Iterable[TaskNow], began: datetime, span: float, now: datetime) -> Iterable[Stripe]:
    for task in sorted((task for task in tasks if task.started), key=lambda task: task.started or now):
        start, end = task.started or now, task.ended or now
        if task.state == "skipped" or task.task == "watcher":
            continue
        seconds = max((end - start).total_seconds(), 0.0)
        yield Stripe(
            label=f"{task.task} {task.part}".strip(),
            kind="waiting" if task.waits else _STRIPES.get(task.state, "running"),
            left=round(100 * max((start - began).total_seconds(), 0) / span, 3),
            width=round(max(100 * seconds / span, 0.15), 3), seconds=seconds, task=task,
        )  # fmt: skip
