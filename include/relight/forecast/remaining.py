"""How long a restore that goes on still takes: its forecast, and what its steps have left so far. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from relight.backups.manifest import Value
from relight.forecast.estimate import added, longest
from relight.forecast.timing import as_foreseen
from relight.forecast.values import Forecast, Span
from relight.forecast.work import BESIDE, BETWEEN, FIRST, IN_ORDER
from relight.step_records import StepRecord, last_done

_LEAST_LEFT = 0.1
"""A step that takes longer than the slow end of its range still needs so much of what it has taken: nobody knows."""

_Stage = tuple[str, ...]
_STAGES: tuple[_Stage, ...] = tuple((one,) if one not in BESIDE else BESIDE for one in IN_ORDER if one != BESIDE[-1])


class Remaining(Value):
    """What is still to come until the shard takes writes."""

    span: Span
    """Seconds from now."""
    eta: datetime
    earliest: datetime
    latest: datetime
    running: tuple[str, ...]
    """The steps that go on, or come next; empty when the shard takes writes."""


def remaining(
    forecast: Forecast, records: Sequence[StepRecord], now: datetime, fractions: Mapping[str, float] | None = None
) -> Remaining:
    """What is left of a run at the time ``now``.

    :param records: of the run's steps, in the order they began.
    :param fractions: how much of a running step is done, 0 to 1, where that is known from elsewhere. What the records
        say is used where they say more.
    """
    records = as_foreseen(records)
    spans = {one.step: one.span for one in forecast.steps}
    position = _position(records, spans)
    if position == len(_STAGES):
        return _from(added([]), now, ())
    running = _STAGES[position]
    since = _since(records, position, now)
    known = {step: max(_done(step, records), (fractions or {}).get(step, 0.0)) for step in running}
    elapsed = (now - since).total_seconds()
    left = longest(_left(spans[step], elapsed, known[step]) for step in running)
    later = [longest(spans[step] for step in stage) for stage in _STAGES[position + 1 :]]
    between = _scaled(spans[BETWEEN], len(later) / len(_STAGES))
    return _from(added([left, *later, between]), now, running)


def _from(span: Span, now: datetime, running: tuple[str, ...]) -> Remaining:
    eta, earliest, latest = (now + timedelta(seconds=value) for value in (span.seconds, span.low, span.high))
    return Remaining(span=span, eta=eta, earliest=earliest, latest=latest, running=running)


def _position(records: Sequence[StepRecord], spans: Mapping[str, Span]) -> int:
    """The number of the stage that goes on: the last that has begun, or the one behind it if that is over."""
    begun = [number for number, stage in enumerate(_STAGES) if any(record.step in stage for record in records)]
    position = max(begun, default=0)
    while begun and position < len(_STAGES) and all(_is_over(step, records, spans) for step in _STAGES[position]):
        position += 1
    return position


def _is_over(step: str, records: Sequence[StepRecord], spans: Mapping[str, Span]) -> bool:
    return _done(step, records) >= 1 or (step == FIRST and not spans[FIRST].seconds)


def _done(step: str, records: Sequence[StepRecord]) -> float:
    """How much of a step is done, 0 to 1, as far as the records tell: earlier steps say what it consists of."""
    finished = {record.key for record in records if record.step == step and record.outcome == "done"}
    parts = _parts(step, records)
    if step == FIRST:
        return 0.0  # how many there have to be no record says; it is over when the next step has begun
    if parts is None:
        return 1.0 if finished else 0.0
    if finished >= parts.keys():
        return 1.0
    return sum(size for key, size in parts.items() if key in finished) / max(sum(parts.values()), 1.0)


def _parts(step: str, records: Sequence[StepRecord]) -> dict[str, float] | None:
    """The tasks of a step by their key, and how large each is; None where it is a single one, or nothing is known."""
    plan, lanes = last_done(records, "plan"), last_done(records, "lanes")
    if step == "split":
        return {str(number): 1.0 for number in range(plan.summary["segments"])} if plan else None
    if step == "replay":
        return {str(g["number"]): float(g["bytes"]) for g in lanes.summary["groups"]} if lanes else None
    if step == "validate":
        return dict.fromkeys(lanes.summary["databases"], 1.0) if lanes else None
    return None


def _since(records: Sequence[StepRecord], position: int, now: datetime) -> datetime:
    """When the running stage began: when the last one before it ended. Records of tasks come only as they end."""
    earlier = {step for stage in _STAGES[:position] for step in stage}
    ended = [record.ended for record in records if record.step in earlier and record.outcome == "done"]
    return min(max(ended, default=now), now)


def _left(span: Span, elapsed: float, done: float) -> Span:
    """What is left of a step. The more of it is done, the more its own pace counts, and the less the forecast."""
    if done >= 1:
        return _scaled(span, 0.0)
    if not done:
        least = _LEAST_LEFT * elapsed
        low, likely, high = (max(value - elapsed, 0.0) for value in (span.low, span.seconds, span.high))
        return Span(seconds=max(likely, least), low=low, high=max(high, least))
    pace = elapsed / done
    low, likely, high = ((1 - done) * value + done * pace for value in (span.low, span.seconds, span.high))
    return Span(seconds=(1 - done) * likely, low=(1 - done) * low, high=(1 - done) * high)


def _scaled(span: Span, factor: float) -> Span:
    return Span(seconds=factor * span.seconds, low=factor * span.low, high=factor * span.high)
