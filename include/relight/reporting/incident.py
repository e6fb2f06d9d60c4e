"""Restores while they run, as a page shows them. Pure: what Airflow knows of runs and tasks, made into cards."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from relight.backups.manifest import Value
from relight.forecast.values import Span

Kind = Literal["failed", "waiting", "running", "queued", "success"]

WORDS: Final[Mapping[Kind, str]] = {
    "waiting": "waits for a person", "failed": "failed", "running": "running", "queued": "queued", "success": "done",
}  # fmt: skip
"""What each state is called, the most urgent first."""
_URGENCY: Final = {kind: place for place, kind in enumerate(WORDS)}

DOING: Final[Mapping[str, str]] = {
    "check": "checking the request", "salvage": "salvaging logs", "plan": "making the plan",
    "guard": "looking for signs of life", "restore_snapshot": "unpacking the full backup",
    "plan_lanes": "planning lanes", "split": "splitting logs", "replay": "replaying logs",
    "replay_put_off": "replaying what was put off", "databases": "listing databases", "validate": "proving",
    "judge": "judging", "approve": "asking a person", "certify": "signing the certificate", "drill": "sabotaging",
    "promote": "promoting", "announce": "telling applications", "replicas": "rebuilding replicas",
    "tear_down": "tearing down", "report": "writing the report",
}  # fmt: skip
"""What the tasks of a restore do, in the order in which they do it."""

_OVER = ("success", "failed", "skipped", "upstream_failed", "removed")
_AT_WORK = ("running", "deferred", "up_for_retry", "awaiting_input")


class LiveBar(Value):
    """One piece of work of a task. ``done``, ``total`` in bytes, ``speed`` in bytes per second."""

    label: str
    done: int
    total: int
    speed: float
    at: datetime

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return min(self.done / self.total, 1.0) if self.total > 0 else 0.0


class TaskNow(Value):
    """A task instance as Airflow knows it; ``part`` names one of a mapped task."""

    task: str
    index: int = -1
    part: str = ""
    state: str
    started: datetime | None = None
    ended: datetime | None = None
    tries: int = 0
    waits: bool = False
    """For a person's answer."""
    bars: tuple[LiveBar, ...] = ()


class RunNow(Value):
    """A run as Airflow knows it."""

    dag: str
    run: str
    shard: str
    mode: str = "promote"
    target: str = "latest"
    state: str
    queued: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    tasks: tuple[TaskNow, ...] = ()


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


def make_incident(runs: Sequence[RunNow], forecasts: Mapping[str, Span], now: datetime) -> Incident:
    """:param forecasts: per shard, how long its restore takes until it takes writes."""
    began = min((run.started or run.queued or now for run in runs), default=None)
    span = _span((now - began).total_seconds() if began else 1.0)
    cards = [make_card(run, forecasts.get(run.shard), now, began or now, span) for run in runs]
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


def make_card(run: RunNow, forecast: Span | None, now: datetime, began: datetime, span: float) -> RunCard:
    """One run; ``began`` and ``span`` are what its chart begins with and covers."""
    active = [task for task in run.tasks if task.state in _AT_WORK]
    asks = tuple(task for task in run.tasks if task.waits)
    bars = tuple((task.task, bar) for task in active for bar in task.bars)
    elapsed = ((run.ended or now) - (run.started or run.ended or now)).total_seconds()
    kind = _kind(run, asks)
    open_again = any(task.task == "promote" and task.state == "success" for task in run.tasks)
    left = (
        None if forecast is None or open_again or kind in ("success", "failed", "waiting") else _left(forecast, elapsed)
    )
    return RunCard(
        now=run, kind=kind, word=WORDS[kind], doing=_doing(run, active), done=sum(t.state in _OVER for t in run.tasks),
        total=len(run.tasks), bars=bars, speed=sum(bar.speed for _, bar in bars if bar.share < 1), elapsed=elapsed,
        left=left, late=max(elapsed - forecast.high, 0.0) if forecast and left else 0.0,
        failed=tuple(task for task in run.tasks if task.state == "failed" and task.task != "watcher"), asks=asks,
        stripes=tuple(_stripes(run.tasks, began, span, now)),
    )  # fmt: skip


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


def _left(forecast: Span, elapsed: float) -> Span:
    return Span(
        seconds=max(forecast.seconds - elapsed, 0.0), low=max(forecast.low - elapsed, 0.0),
        high=max(forecast.high - elapsed, 0.0),
    )  # fmt: skip


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
