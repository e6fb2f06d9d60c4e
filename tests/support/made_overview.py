"""A fleet that does not exist, on an ordinary day with a few troubles: the same one for the same size."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from relight.forecast.values import Span
from relight.overview.card import Card, Overview

LONG = "customer-orders-archive-europe-west-partition-0042-of-legacy"
"""As long as the fleet file lets a name be, nearly."""


def made_overview(shards: list[str], at: datetime, seed: int = 7) -> Overview:
    """Most shards are well, some need attention, a few could not be brought back as promised."""
    draw = random.Random(seed)
    cards = tuple(_card(name, number, at, draw) for number, name in enumerate(shards))
    return Overview(fleet="shop", at=at, seconds=round(0.004 * len(shards), 2), cards=cards)


def names(count: int) -> list[str]:
    """``shop-0001`` ...; the third has a very long name."""
    made = [f"shop-{number:04d}" for number in range(1, count + 1)]
    return [*made[:2], LONG, *made[3:]] if count > 2 else made


def _card(name: str, number: int, at: datetime, draw: random.Random) -> Card:
    tier = 1 + number % 3
    objective = (1800.0, 7200.0, None)[tier - 1]
    seconds = draw.uniform(200, 1300)
    card = Card(
        shard=name, tier=tier, health="good", snapshot="20261124T010203Z-1a2b3c4d",
        snapshot_at=at - timedelta(hours=draw.uniform(1, 20)), stored_bytes=draw.randrange(10**9, 10**12),
        data_bytes=3 * 10**11, log_bytes=draw.randrange(10**8, 10**10), segments=draw.randrange(10, 300),
        last_commit=at - timedelta(seconds=draw.uniform(30, 280)),
        shipped_at=at - timedelta(seconds=draw.uniform(20, 270)), proved_at=at - timedelta(days=draw.uniform(0, 25)),
        proof_seconds=seconds * 0.95, last_rehearsal="done", objective_seconds=objective,
        forecast=Span(seconds=seconds, low=seconds * 0.8, high=seconds * 1.3),
    )  # fmt: skip
    return card.model_copy(update=_TROUBLES.get(number % 40, _none)(card, at))


def _none(card: Card, at: datetime) -> dict[str, object]:
    return {}


def _slow(card: Card, at: datetime) -> dict[str, object]:
    return {
        "health": "bad", "forecast": Span(seconds=2900, low=2400, high=3600), "objective_seconds": 1800.0,
        "warnings": (
            f"its log has grown so that a restore takes longer than promised: relight backup full {card.shard}",
            "its last rehearsal failed: drill: a sabotage was not found",
        ),
        "last_rehearsal": "failed",
    }  # fmt: skip


def _never(card: Card, at: datetime) -> dict[str, object]:
    return {
        "health": "bad", "snapshot": "", "snapshot_at": None, "shipped_at": None, "last_commit": None, "forecast": None,
        "proved_at": None, "proof_seconds": None, "last_rehearsal": "",
        "warnings": (f"there is no full backup: relight backup full {card.shard}",),
    }  # fmt: skip


def _late(card: Card, at: datetime) -> dict[str, object]:
    shipped = at - timedelta(minutes=52)
    return {
        "health": "warning", "shipped_at": shipped, "last_commit": shipped,
        "warnings": ("no log was shipped for 52 min: look at DAG backup_binlogs",),
    }  # fmt: skip


def _old_proof(card: Card, at: datetime) -> dict[str, object]:
    return {
        "health": "warning", "proved_at": at - timedelta(days=44),
        "warnings": (f"its proof is older than 30 days: relight rehearse {card.shard}",),
    }  # fmt: skip


def _unseen(card: Card, at: datetime) -> dict[str, object]:
    return {"health": "unknown", "forecast": None, "warnings": ("the store did not answer for it",)}


_TROUBLES = {2: _slow, 7: _never, 11: _late, 19: _old_proof, 29: _unseen}
