"""What of a shard needs attention, in words, with the command that helps. Pure functions of a card."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final, Literal

from relight.errors import command_line
from relight.fleet import Tier
from relight.forecast.words import duration
from relight.overview.card import Card
from relight.overview.health import Health, urgency
from relight.overview.holdings import Concern

SHIPPED_WITHIN: Final = timedelta(hours=1)
"""Logs are shipped every five minutes. A shard that is written to and ships none for so long does not ship."""
BACKED_UP_WITHIN: Final = timedelta(days=2)
"""Full backups are taken every day: an older one means that the last one failed."""

_WORTH_A_BACKUP: Final = 0.1
"""A full backup is worth taking for the sake of a promise if it saves so much of the time."""


Part = Literal["backups", "rehearsals", "epochs"]


def judged(card: Card, tier: Tier, found: Iterable[Concern], now: datetime, unseen: Collection[Part] = ()) -> Card:
    """The card with its health and its warnings, the worst first.

    :param found: what was seen to be wrong while looking.
    :param unseen: what could not be looked at: nothing is concluded from it.
    """
    concerns = list(found)
    if "backups" not in unseen:
        concerns += [*_backups(card, now), *_promise(card)]
    if "rehearsals" not in unseen:
        concerns += _proof(card, tier, now)
    concerns.sort(key=lambda one: urgency(one.health))
    health: Health = concerns[0].health if concerns else "good"
    gone = [f"none of its servers answers: bring it back: {command_line('restore', card.shard)}"] if card.down else []
    return card.model_copy(update={"health": health, "warnings": (*gone, *(one.text for one in concerns))})


def _backups(card: Card, now: datetime) -> Iterator[Concern]:
    take = command_line("backup", "full", card.shard)
    if card.snapshot_at is None:
        yield Concern(health="bad", text=f"no full backup: it cannot be brought back: take one now: {take}")
        return
    age = now - card.snapshot_at
    if age > BACKED_UP_WITHIN:
        told = duration(age.total_seconds())
        yield Concern(health="warning", text=f"the last full backup is {told} old: take one now: {take}")
    shipped = max(card.snapshot_at, card.shipped_at or card.snapshot_at)
    silent = now - shipped
    if silent > SHIPPED_WITHIN:
        yield Concern(
            health="warning", text=f"no logs shipped for {duration(silent.total_seconds())}: what was written since "
            f"would be lost; if it is written to: {command_line('backup', 'logs', card.shard)}",
        )  # fmt: skip


def _promise(card: Card) -> Iterator[Concern]:
    """Whether a restore would end in the time that was promised."""
    foreseen, objective = card.forecast, card.objective_seconds
    if foreseen is None or objective is None or foreseen.high <= objective:
        return
    missed = foreseen.seconds > objective
    takes = f"would take {duration(foreseen.seconds)}" if missed else f"could take {duration(foreseen.high)}"
    guess = "" if card.forecast_learned_from else " (a guess, as long as no run was measured)"
    yield Concern(
        health="bad" if missed and card.forecast_learned_from else "warning",
        text=f"a restore {takes}{guess}, promised is {duration(objective)}: {_advice(card, objective)}",
    )  # fmt: skip


def _advice(card: Card, objective: float) -> str:
    """A new full backup leaves no log to replay. Where the log is not what takes the time, that is no advice."""
    fresh, now = card.forecast_fresh, card.forecast
    if fresh is None or now is None or now.seconds - fresh.seconds >= _WORTH_A_BACKUP * now.seconds:
        if fresh is None or fresh.seconds <= objective:
            return f"take a full backup now: {command_line('backup', 'full', card.shard)}"
        return (
            f"a new full backup alone is not enough ({duration(fresh.seconds)}): it needs faster "
            f"machines or another promise: {command_line('forecast', '--shards', card.shard)}"
        )
    if not card.forecast_learned_from:
        return f"measure it: {command_line('rehearse', card.shard)}"
    return (
        "a new full backup would hardly help, as there is little log to replay: it needs faster machines or another "
        f"promise: {command_line('forecast', '--shards', card.shard)}"
    )


def _proof(card: Card, tier: Tier, now: datetime) -> Iterator[Concern]:
    if card.last_rehearsal == "failed":
        why = f": {card.rehearsal_problem}" if card.rehearsal_problem else ""
        yield Concern(
            health="bad",
            text=f"the last rehearsal failed{why}: find out why, then: {command_line('rehearse', card.shard)}",
        )
    if not card.rehearsable:
        yield Concern(
            health="warning", text="no scratch server: nothing proves its backups: give it one in the fleet file, "
            f"then: {command_line('rehearse', card.shard)}",
        )  # fmt: skip
    elif card.proved_at is None:
        yield Concern(health="warning", text=f"never proved: {command_line('rehearse', card.shard)}")
    elif now - card.proved_at > timedelta(days=tier.prove_every_days):
        age = duration((now - card.proved_at).total_seconds())
        yield Concern(
            health="warning", text=f"last proved {age} ago, promised is every {tier.prove_every_days:g} days: "
            f"{command_line('rehearse', card.shard)}",
        )  # fmt: skip
