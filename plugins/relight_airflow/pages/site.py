"""The fleet and its store, for pages."""

from __future__ import annotations

import logging
import time
from functools import lru_cache
from pathlib import Path

from relight.errors import FleetError
from relight.fleet import Fleet, Shard
from relight.fleet_file import load_fleet
from relight.site import Site
from relight_airflow.place import ANNOUNCERS, AirflowCredentials, LogProgress, fleet_path

_KEPT_SECONDS = 60


_MOST_SHOWN = 80


class NoSuchShard(FleetError):
    """An address names a shard that the fleet file does not have."""


def shard_named(here: Site, name: str) -> Shard:
    """The shard that an address names. :raises NoSuchShard: there is none; says which ones there are."""
    try:
        return here.fleet.shard(name)
    except FleetError as error:
        raise NoSuchShard(error.what, on=name[:_MOST_SHOWN], why=error.why, hint=error.hint) from None


def site() -> Site:
    """The site of this installation. The fleet file is read again when it has changed, logins every minute."""
    path = fleet_path()
    return _opened(path, _changed(path), int(time.monotonic() // _KEPT_SECONDS))


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0  # reading it says what is wrong


@lru_cache(maxsize=1)
def _opened(path: Path, changed: int, _minute: int) -> Site:
    from relight.store.s3 import open_store

    here, credentials = _fleet(path, changed), AirflowCredentials()
    return Site(
        fleet=here, store=open_store(here.store, credentials.login("store")), credentials=credentials,
        progress=LogProgress(logging.getLogger(__name__)), announcers=ANNOUNCERS,
    )  # fmt: skip


@lru_cache(maxsize=1)
def _fleet(path: Path, _changed: int) -> Fleet:
    # A large file takes seconds.
    return load_fleet(path)
