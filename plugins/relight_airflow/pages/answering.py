"""Which shards are down at this moment, for pages: asked in the background, so that no page waits for a server."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from threading import Lock, Thread

from relight.fleet import Fleet
from relight.incident.asking import down_among

_AGAIN = 10.0
"""Seconds after which the servers are asked again, if somebody looks at a page."""
_HOLDS = 60.0
"""Seconds for which an answer says how it is."""


class Answering:
    """What the servers of the fleet have answered lately. One thread asks them, however many pages are looked at."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._down: frozenset[str] = frozenset()
        self._at: float | None = None
        self._asking = False
        self._reaches_servers = False

    def down(self, fleet: Fleet) -> Collection[str] | None:
        """The shards of which no server answers; None where that is not known from here. Comes back at once.

        As long as none ever answered, it may as well be that no server can be reached from this machine.
        """
        now = time.monotonic()
        with self._lock:
            age = None if self._at is None else now - self._at
            if not self._asking and (age is None or age >= _AGAIN):
                self._asking = True
                Thread(target=self._ask, args=(fleet,), name="relight-answering", daemon=True).start()
            return self._down if self._reaches_servers and age is not None and age < _HOLDS else None

    def _ask(self, fleet: Fleet) -> None:
        try:
            found = frozenset(shard.name for shard in down_among(fleet.shards))
            with self._lock:
                self._down, self._at = found, time.monotonic()
                self._reaches_servers |= len(found) < len(fleet.shards)
        except Exception:  # a page that shows less is better than none
            logging.getLogger(__name__).exception("the servers could not be asked")
        finally:
            with self._lock:
                self._asking = False


ANSWERING = Answering()
