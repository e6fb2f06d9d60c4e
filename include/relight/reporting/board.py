"""The fleet as a page shows it. Pure: an overview and the time it is looked at, made into rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal

from relight.backups.manifest import Value
from relight.overview.card import Card, Overview
from relight.overview.health import WORDS, State, urgency

STALE_AFTER: Final = 3600.0
"""Seconds after which an overview no longer tells how the fleet is now."""

Promise = Literal["over", "close", "within", "none", "unknown"]
_CLOSE = 0.8


class FleetRow(Value):
    """One shard. Durations in seconds, counted from the time the page was asked for."""

    card: Card
    state: State
    word: str
    urgency: int
    """0 is looked at first."""
    run: str = ""
    """Of DAG ``restore``, that brings it back; empty where none does."""
    loss: float | None
    """What would be lost if it failed now: the age of the newest log that was shipped. None: nothing is backed up."""
    backup_age: float | None
    proof_age: float | None
    promise: Promise
    """The forecast against the objective. ``close``: within a fifth of it."""


class Board(Value):
    """The fleet, the most urgent shards first."""

    overview_age: float
    stale: bool
    rows: tuple[FleetRow, ...]
    counts: tuple[tuple[State, str, int], ...]
    """How many shards there are of each state, with its word; the most urgent first."""
    tiers: tuple[int, ...]
    over: int
    """Shards whose forecast breaks their objective."""
    proved: int
    """Shards that were ever proved by a rehearsal."""
    worst_loss: float | None


def make_board(overview: Overview, now: datetime, restoring: Mapping[str, str] | None = None) -> Board:
    """The page's values, as they are at ``now``.

    :param restoring: the run that brings a shard back, by the shard's name.
    """
    rows = [_row(card, now, (restoring or {}).get(card.shard, "")) for card in overview.cards]
    rows.sort(key=lambda row: (row.urgency, row.card.tier))
    counted = Counter(row.state for row in rows)
    age = (now - overview.at).total_seconds()
    return Board(
        overview_age=age, stale=age > STALE_AFTER, rows=tuple(rows),
        counts=tuple((state, word, counted[state]) for state, word in WORDS.items()),
        tiers=tuple(sorted({row.card.tier for row in rows})), over=sum(row.promise == "over" for row in rows),
        proved=sum(row.proof_age is not None for row in rows),
        worst_loss=max((row.loss for row in rows if row.loss is not None), default=None),
    )  # fmt: skip


def _row(card: Card, now: datetime, run: str) -> FleetRow:
    state: State = "restoring" if run else card.state
    return FleetRow(
        card=card, state=state, word=WORDS[state], urgency=urgency(state), run=run,
        loss=_age(card.shipped_at or card.snapshot_at, now), backup_age=_age(card.snapshot_at, now),
        proof_age=_age(card.proved_at, now), promise=_promise(card),
    )  # fmt: skip


def _age(time: datetime | None, now: datetime) -> float | None:
    return None if time is None else max((now - time).total_seconds(), 0.0)


def _promise(card: Card) -> Promise:
    if card.objective_seconds is None:
        return "none"
    if card.forecast is None:
        return "unknown"
    if card.forecast.seconds > card.objective_seconds:
        return "over"
    return "close" if card.forecast.seconds > _CLOSE * card.objective_seconds else "within"
