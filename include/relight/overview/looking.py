"""Look at every shard of the fleet: how far it is backed up, what is proved of it, what needs attention.

It takes some eight requests to the store per shard, and one for each log that no earlier look has read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime

from relight.errors import StoreDenied, StoreError, StoreUnavailable
from relight.fencing.timelines import Timeline, present_timeline
from relight.fleet import Shard
from relight.forecast.estimate import estimate_all
from relight.forecast.learning import Speeds, learn
from relight.forecast.loads import load_of
from relight.incident.asking import down_among
from relight.overview.attention import Part, judged
from relight.overview.card import Card, Overview
from relight.overview.holdings import Concern, holdings
from relight.rehearsal.history import recent
from relight.site import Site
from relight.store import layout
from relight.store.base import Store
from relight.store.parallel import in_parallel


def look_over(site: Site, previous: Overview | None = None, down: Collection[str] | None = None) -> Overview:
    """The fleet now, shards side by side.

    What cannot be read of one shard stands in its card, and hides no other.

    :param previous: an earlier look, which saves reading the manifests of full backups that are still the newest.
    :param down: the shards of which no server answers; None: nobody has asked.
    :raises StoreUnavailable: (retryable) the store does not answer. StoreDenied: it refuses the credentials.
    """
    now, began = datetime.now(UTC), time.monotonic()
    known = {card.shard: card for card in previous.cards} if previous else {}
    speeds = learn(site.store, parallel=site.fleet.store.parallel)

    def look(shard: Shard) -> Card:
        is_down = None if down is None else shard.name in down
        return _card(site, now, shard, known.get(shard.name), speeds, down=is_down)

    cards = in_parallel(look, site.fleet.shards, site.fleet.store.parallel)
    return Overview(fleet=site.fleet.fleet, at=now, seconds=round(time.monotonic() - began, 3), cards=tuple(cards))


def look_over_and_ask(site: Site, previous: Overview | None = None) -> Overview:
    """The same, and whether the shards' servers answer: they are asked first, all side by side, each for a moment."""
    down = {shard.name for shard in down_among(site.fleet.shards)}
    return look_over(site, previous, down)


def _card(
    site: Site, now: datetime, shard: Shard, before: Card | None, speeds: Speeds, *, down: bool | None
) -> Card:  # fmt: skip
    tier, store = site.fleet.tier_of(shard), site.store
    card = Card(
        shard=shard.name, tier=shard.tier, health="unknown", rehearsable=shard.scratch is not None, down=down,
        objective_seconds=60 * tier.objective_minutes if tier.objective_minutes else None,
    )  # fmt: skip
    concerns: list[Concern] = []
    unseen: set[Part] = set()

    def look(part: Part, at: Callable[[Card], tuple[Card, tuple[Concern, ...]]]) -> None:
        nonlocal card
        try:
            card, found = at(card)
            concerns.extend(found)
        except StoreError as error:
            _raise_if_away(store, error)
            unseen.add(part)
            concerns.append(Concern(health="unknown", text=f"its {part} cannot be looked at: {error}"))

    present: Timeline | None = None

    def epoch(card: Card) -> tuple[Card, tuple[Concern, ...]]:
        nonlocal present
        present = present_timeline(store, card.shard)
        return card.model_copy(update={"epoch": present.number if present else None}), ()

    look("epochs", epoch)
    # What was kept of an earlier look may be of a timeline that the shard has left since.
    same = before if before is not None and before.epoch == card.epoch else None
    look("backups", lambda card: holdings(store, card, same, present))
    if card.snapshot:
        card = _foreseen(card, shard, speeds, len(site.fleet.first_replicas(shard)))
    look("rehearsals", lambda card: (_rehearsed(store, card), ()))
    return judged(card, tier, concerns, now, unseen)


def _foreseen(card: Card, shard: Shard, speeds: Speeds, replicas_first: int) -> Card:
    load = load_of(
        shard, stored_bytes=card.stored_bytes, data_bytes=card.data_bytes, log_bytes=card.log_bytes,
        segments=card.segments, databases=card.databases, replicas_first=replicas_first,
    )  # fmt: skip
    fresh = load.model_copy(update={"log_bytes": 0, "segments": 0})
    now, then = estimate_all([load, fresh], speeds)
    return card.model_copy(update={
        "forecast": now.total, "forecast_fresh": then.total, "forecast_learned_from": now.learned_from,
    })  # fmt: skip


def _raise_if_away(store: Store, error: StoreError) -> None:
    """Whether it is only this shard, or the store: then there is nothing to show."""
    if isinstance(error, (StoreUnavailable, StoreDenied)):
        next(iter(store.list(layout.TIMINGS)), None)


def _rehearsed(store: Store, card: Card) -> Card:
    found = recent(store, card.shard)
    last, proof = next(iter(found), None), next((one for one in found if one.proved), None)
    return card.model_copy(update={
        "last_rehearsal": last.outcome if last else "", "rehearsal_problem": last.problem if last else "",
        "proved_at": proof.ended if proof else None, "proof_seconds": proof.restore_seconds if proof else None,
    })  # fmt: skip
