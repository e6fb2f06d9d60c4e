"""Lets a session compute what the source of a log has computed, where the log does not say with what."""

from __future__ import annotations

import re

from relight.backups.manifest import Surroundings, SystemZone
from relight.lane.rendering import Rendered
from relight.server.session import Session
from relight.server.zone import same_zone

_SYSTEM = "SYSTEM"
_OF_EVENT = re.compile(rb"\s*(CREATE|ALTER)\b.*\bEVENT\b", re.IGNORECASE | re.DOTALL)


_known: dict[tuple[str, str], str | None] = {}
"""By server and zone: the name that it has there. Lanes of one process need not all find out, which takes a moment; a
server that Relight rebuilds keeps its zone however often it is started."""


class Computing:
    """On the server of one session, which only measures time zones."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._server = str(session.value("SELECT @@server_uuid"))

    def translated(self, statement: Rendered, surroundings: Surroundings | None) -> str | None:
        """The statement's time zone, with the source's ``SYSTEM`` where that is another zone on this server. One that
        has it under no name runs the statement in its own; what it computed is doubted then.

        Events keep ``SYSTEM``, since it becomes a part of them.
        """
        if surroundings is None or statement.zone != _SYSTEM or _OF_EVENT.match(statement.text):
            return statement.zone
        return self._name(surroundings.zone) or _SYSTEM

    def zone(self, surroundings: Surroundings | None) -> str | None:
        """The name that the zone has here in which sessions of the source begin; None where it has none."""
        if surroundings is None:
            return None
        name = surroundings.variables.get("time_zone", "SYSTEM")
        if name == "SYSTEM":
            return self._name(surroundings.zone)
        return name if self._session.value("SELECT CONVERT_TZ('2026-01-01', '+00:00', %s)", name) else None

    def _name(self, zone: SystemZone) -> str | None:
        key = self._server, zone.digest
        if key not in _known:
            _known[key] = same_zone(self._session, zone)
        return _known[key]
