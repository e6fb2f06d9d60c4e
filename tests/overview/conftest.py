"""Fleets that nothing runs on, with a real store."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from relight.credentials import EnvironmentCredentials
from relight.fleet import Fleet, Shard, StoreSettings, Tier
from relight.progress import Silent
from relight.site import Site
from relight.store.s3 import open_store
from tests.airflow.fleets import fleet

Place = Callable[..., Site]


@pytest.fixture
def place(store_settings: StoreSettings, credentials: EnvironmentCredentials) -> Place:
    """A function that makes the site of a fleet that nothing runs on: ``place("a", "b", tiers=..., scratch=False)``."""

    def make(*names: str, tiers: tuple[Tier, ...] = (), scratch: bool = True, endpoint: str = "") -> Site:
        shards: tuple[Shard, ...] = fleet(*names, scratch=scratch).shards
        settings = store_settings.model_copy(update={"endpoint": endpoint} if endpoint else {})
        known = Fleet(fleet="test", store=settings, shards=shards, tiers=tiers)
        return Site(known, open_store(settings, credentials.login("store")), credentials, Silent())

    return make
