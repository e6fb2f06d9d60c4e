"""Overviews in the store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from relight.credentials import EnvironmentCredentials
from relight.errors import ObjectExists
from relight.fleet import StoreSettings
from relight.overview.card import Card, Overview
from relight.overview.keeping import DAYS_BACK, history, keep, newest
from relight.store import layout
from relight.store.base import Store
from relight.store.s3 import open_store

NOON = datetime(2026, 11, 24, 12, 7, 30, 250000, tzinfo=UTC)


@pytest.fixture
def store(store_settings: StoreSettings, credentials: EnvironmentCredentials) -> Store:
    return open_store(store_settings, credentials.login("store"))


def at(time: datetime) -> Overview:
    card = Card(shard="a", tier=1, health="warning", warnings=("never proved: relight rehearse a",), snapshot_at=time)
    return Overview(fleet="test", at=time, seconds=1.5, cards=(card,))


def test_the_newest_comes_back_as_it_was(store: Store) -> None:
    for minutes in (15, 5, 10):
        keep(store, at(NOON - timedelta(minutes=minutes)))
    assert newest(store, NOON) == at(NOON - timedelta(minutes=5))


def test_it_is_found_across_midnight_and_not_for_ever(store: Store) -> None:
    keep(store, at(NOON - timedelta(days=DAYS_BACK)))
    assert newest(store, NOON) == at(NOON - timedelta(days=DAYS_BACK))
    assert newest(store, NOON + timedelta(days=1)) is None


def test_one_that_cannot_be_read_is_passed_over(store: Store) -> None:
    keep(store, at(NOON - timedelta(minutes=5)))
    store.put(layout.overview(NOON), b"of another version")
    assert newest(store, NOON) == at(NOON - timedelta(minutes=5))


def test_they_are_written_once(store: Store) -> None:
    keep(store, at(NOON))
    with pytest.raises(ObjectExists):
        keep(store, at(NOON))


def test_history_has_one_an_hour_oldest_first(store: Store) -> None:
    times = [NOON - timedelta(minutes=20 * step) for step in range(9)] + [NOON - timedelta(days=2)]
    for time in times:
        keep(store, at(time))
    found = [one.at for one in history(store, NOON, days=1)]
    assert [one.hour for one in found] == [9, 10, 11, 12]
    assert found == sorted(found)
    assert len(list(history(store, NOON, days=2))) == 5
