"""The fleet's rows: what is urgent first, what is promised, what would be lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from relight.forecast.values import Span
from relight.overview.card import Card, Overview
from relight.overview.health import Health
from relight.reporting.board import STALE_AFTER, Promise, make_board

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def card(name: str, health: Health = "good", tier: int = 1, **more: object) -> Card:
    return Card(shard=name, tier=tier, health=health, **more)  # type: ignore[arg-type]


def board(*cards: Card, age: float = 60) -> object:
    at = NOW - timedelta(seconds=age)
    return make_board(Overview(fleet="f", at=at, seconds=1, cards=cards), NOW)


def test_the_most_urgent_come_first_and_within_them_the_first_tier() -> None:
    found = board(card("a"), card("b", "unknown"), card("c", "bad", tier=2), card("d", "warning"), card("e", "bad"))
    assert [row.card.shard for row in found.rows] == ["e", "c", "b", "d", "a"]
    assert {word: count for _, word, count in found.counts if count} == {
        "at risk": 2, "not seen": 1, "attention": 1, "ready": 1,
    }  # fmt: skip


def test_what_is_down_comes_before_all_and_what_is_being_restored_is_said_so() -> None:
    at = NOW - timedelta(seconds=60)
    cards = (card("a", "bad"), card("b", down=True), card("c", down=True), card("d", down=False))
    found = make_board(Overview(fleet="f", at=at, seconds=1, cards=cards), NOW, {"b": "restore/i__b"})
    assert [(row.card.shard, row.word, row.run) for row in found.rows] == [
        ("c", "down", ""), ("b", "being restored", "restore/i__b"), ("a", "at risk", ""), ("d", "ready", ""),
    ]  # fmt: skip


def test_what_would_be_lost_is_the_age_of_the_newest_log_as_it_is_now() -> None:
    shipped, taken = NOW - timedelta(minutes=5), NOW - timedelta(hours=2)
    rows = board(card("a", snapshot_at=taken, shipped_at=shipped), card("b", snapshot_at=taken), card("c")).rows
    assert [row.loss for row in rows] == [300, 7200, None]


@pytest.mark.parametrize(
    ("seconds", "objective", "promise"),
    [(100, None, "none"), (None, 100, "unknown"), (None, None, "none"), (79, 100, "within"), (81, 100, "close"),
     (100, 100, "close"), (101, 100, "over")],
)  # fmt: skip
def test_the_forecast_is_held_against_the_objective(
    seconds: float | None, objective: float | None, promise: Promise
) -> None:
    span = None if seconds is None else Span(seconds=seconds, low=seconds, high=seconds)
    found = board(card("a", forecast=span, objective_seconds=objective))
    assert found.rows[0].promise == promise
    assert found.over == (promise == "over")


def test_an_old_overview_says_that_it_is_old() -> None:
    assert not board(card("a"), age=STALE_AFTER - 1).stale
    assert board(card("a"), age=STALE_AFTER + 1).stale
