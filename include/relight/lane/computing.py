"""Lets a session compute what the source of a log has computed, where the log does not say with what."""

from __future__ import annotations

import re

from relight.backups.manifest import Surroundings, SystemZone
from relight.server.session import Session
from relight.server.zone import same_zone

_SYSTEM = b"SET @@session.time_zone='SYSTEM'"
_OF_EVENT = re.compile(rb"\s*(CREATE|ALTER)\b.*\bEVENT\b", re.IGNORECASE | re.DOTALL)


class Computing:
    """On the server of one session, which only measures time zones; it remembers under which names they are there."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._names: dict[str, str | None] = {}

    def translated(self, statements: list[bytes], surroundings: Surroundings | None) -> list[bytes]:
        """The statements with the source's ``SYSTEM``, where that is another zone on this server. One that has it under
        no name runs them as they are; what they computed is doubted then.

        Events keep it, since it becomes a part of them.
        """
        if surroundings is None or _SYSTEM not in statements or any(map(_OF_EVENT.match, statements)):
            return statements
        name = self._name(surroundings.zone)
        if name in (None, "SYSTEM"):
            return statements
        other = b"SET @@session.time_zone='%s'" % str(name).encode()
        return [other if one == _SYSTEM else one for one in statements]

    def _name(self, zone: SystemZone) -> str | None:
        if zone.digest not in self._names:
            self._names[zone.digest] = same_zone(self._session, zone)
        return self._names[zone.digest]
