"""Which tables a statement may change: those that it names, and what follows from them through triggers, routines,
views and foreign keys."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from relight.backups.manifest import Definition, ForeignKey
from relight.lane.statement import words_of

_PROGRAMS = frozenset({"trigger", "procedure", "function", "view", "event"})
_MAKES = re.compile(
    r"\b(?:TRIGGER|PROCEDURE|FUNCTION|VIEW)\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    r"(?:`?[^`\s.(]+`?\s*\.\s*)?`?([^`\s.(]+)",
    re.IGNORECASE,
)
_ACTIONS = frozenset({"CASCADE", "SET NULL"})

Names = frozenset[str]


def cascading(keys: Mapping[str, Iterable[ForeignKey]]) -> frozenset[str]:
    """Of the tables with these foreign keys, those whose rows are changed by changes of others."""
    return frozenset(table for table, its in keys.items() if any(_cascades(key) for key in its))


def _cascades(key: ForeignKey) -> bool:
    return bool({key.on_delete, key.on_update} & _ACTIONS)


class Reach:
    """Knows what leads from one name to others: whoever touches one of a bundle may touch all of it."""

    def __init__(
        self, tables: Collection[str], definitions: Iterable[Definition], keys: Mapping[str, Iterable[ForeignKey]]
    ) -> None:
        """``keys``: the foreign keys of each table of the database."""
        programs = [one for one in definitions if one.kind in _PROGRAMS]
        self._known = {name.lower() for name in tables} | {one.name.lower() for one in programs}
        self._programs = {one.name.lower() for one in programs}
        self._bundles: list[Names] = [self._names(words_of(one.text)) | {one.name.lower()} for one in programs]
        self._children: dict[str, set[str]] = {}
        for table, its in keys.items():
            for key in its:
                if _cascades(key):
                    self._children.setdefault(key.parent_table.lower(), set()).add(table.lower())

    def learn(self, sql: str, words: Collection[str] | None = None) -> None:
        """A statement of the log: it may define something that leads further."""
        words = words_of(sql) if words is None else words
        made = {name.lower() for name in _MAKES.findall(sql)}
        if made:
            self._known |= made
            self._programs |= made
            self._bundles.append(self._names(words) | made)
        elif "references" in words:
            self._bundles.append(self._names(words))

    def of(self, words: Collection[str]) -> Names:
        """The tables, in small letters, that a statement of these words may change; other names may be among them."""
        reached = set(self._names(words))
        waiting = set(reached)
        while waiting:
            more: set[str] = set()
            for bundle in self._bundles:
                if bundle & waiting:
                    more |= bundle
            for name in waiting:
                more |= self._children.get(name, set())
            waiting = more - reached
            reached |= waiting
        return frozenset(reached)

    def programs(self, words: Collection[str]) -> Names:
        """Those of these words that name a view, a routine, a trigger or an event."""
        return frozenset(words) & self._programs

    def _names(self, words: Collection[str]) -> Names:
        return frozenset(word for word in words if word in self._known)
