"""What of a shard needs attention, in words, with the command that helps. Pure functions of a card."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final, Literal

from relight.fleet import Tier
from relight.overview.card import Card, Health
from relight.overview.holdings import Concern
from relight.overview.words import duration

SHIPPED_WITHIN: Final = timedelta(hours=1)
"""Logs are shipped every five minutes. A shard that is written to and ships none for so long does not ship."""
BACKED_UP_WITHIN: Final = timedelta(days=2)
"""Full backups are taken every day: an older one means that the last one failed."""

_ORDER: Final[tuple[Health, ...]] = ("bad", "unknown", "warning", "good")


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
    concerns.sort(key=lambda one: _ORDER.index(one.health))
    health: Health = concerns[0].health if concerns else "good"
    return card.model_copy(update={"health": health, "warnings": tuple(one.text for one in concerns)})


def _backups(card: Card, now: datetime) -> Iterator[Concern]:
    take = f"relight backup full {card.shard}"
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
            f"would be lost; if it is written to: relight backup logs {card.shard}",
        )  # fmt: skip


def _promise(card: Card) -> Iterator[Concern]:
    """Whether a restore would end in the time that was promised."""
    if card.forecast is None or card.objective_seconds is None or card.snapshot_at is None:
        return
    promised = duration(card.objective_seconds)
    # A new full backup leaves no log to replay. Where that is too slow as well it is no advice.
    fresh = card.forecast_fresh or card.forecast
    advice = f"take a full backup now: relight backup full {card.shard}"
    if fresh.seconds > card.objective_seconds:
        advice = (
            f"a new full backup alone is not enough ({duration(fresh.seconds)}): it needs faster machines or another "
            f"promise: relight forecast --shards {card.shard}"
        )
    if card.forecast.seconds > card.objective_seconds:
        would = duration(card.forecast.seconds)
        yield Concern(health="bad", text=f"a restore would take {would}, promised is {promised}: {advice}")
    elif card.forecast.high > card.objective_seconds:
        could = duration(card.forecast.high)
        yield Concern(health="warning", text=f"a restore could take {could}, promised is {promised}: {advice}")


def _proof(card: Card, tier: Tier, now: datetime) -> Iterator[Concern]:
    if card.last_rehearsal == "failed":
        why = f": {card.rehearsal_problem}" if card.rehearsal_problem else ""
        yield Concern(
            health="bad", text=f"the last rehearsal failed{why}: find out why, then: relight rehearse {card.shard}"
        )
    if not card.rehearsable:
        yield Concern(
            health="warning", text="no scratch server: nothing proves its backups: give it one in the fleet file, "
            f"then: relight rehearse {card.shard}",
        )  # fmt: skip
    elif card.proved_at is None:
        yield Concern(health="warning", text=f"never proved: relight rehearse {card.shard}")
    elif now - card.proved_at > timedelta(days=tier.prove_every_days):
        age = duration((now - card.proved_at).total_seconds())
        yield Concern(
            health="warning", text=f"last proved {age} ago, promised is every {tier.prove_every_days:g} days: "
            f"relight rehearse {card.shard}",
        )  # fmt: skip
