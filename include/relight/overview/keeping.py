"""Overviews in the store: one object each, compressed, written once.

Whoever shows the fleet reads the newest one, which is one listing and one small object, and not the whole store. Old
ones may be expired by a lifecycle rule on ``_fleet/overview/``: nothing but plots of the past needs them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import zstandard

from relight.backups.inflating import inflated
from relight.errors import ObjectCorrupt, ObjectMissing
from relight.overview.card import Overview
from relight.reading import read_json
from relight.store import layout
from relight.store.base import Store

DAYS_BACK = 7
"""The newest overview is looked for so far back."""
_LEVEL = 6
_MOST_BYTES = 256 * 2**20
_WHAT = "an overview"


def keep(store: Store, overview: Overview) -> str:
    """Leave the overview in the store; gives its key."""
    key = layout.overview(overview.at)
    store.put(key, zstandard.ZstdCompressor(level=_LEVEL).compress(overview.model_dump_json().encode("utf-8")))
    return key


def newest(store: Store, now: datetime) -> Overview | None:
    """The last overview of the last :data:`DAYS_BACK` days; None where there is none.

    One that cannot be read, as another version may have written it, is passed over.
    """
    for day in range(DAYS_BACK + 1):
        for key in reversed(_keys(store, now - timedelta(days=day))):
            found = _read(store, key)
            if found is not None:
                return found
    return None


def history(store: Store, now: datetime, days: int = 7) -> Iterator[Overview]:
    """The first overview of each hour of the last so many days, oldest first, read one by one: for plots."""
    for day in range(days, -1, -1):
        hours: dict[str, str] = {}
        for key in _keys(store, now - timedelta(days=day)):
            hours.setdefault(key.rpartition("/")[2][:2], key)
        for key in hours.values():
            found = _read(store, key)
            if found is not None:
                yield found


def _keys(store: Store, day: datetime) -> list[str]:
    return [entry.key for entry in store.list(layout.overviews(day)) if entry.size]


def _read(store: Store, key: str) -> Overview | None:
    try:
        content = b"".join(inflated([store.get(key)], _MOST_BYTES, on=key, what=_WHAT))
        return read_json(Overview, content, on=key, what=_WHAT)
    except (ObjectCorrupt, ObjectMissing):
        return None
