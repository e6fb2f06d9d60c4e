"""Which tables hold values that a statement of the log has computed with something that the log does not say.

Rows are in the log as they were stored. What ALTER TABLE computes is not: a type that is changed, the default of a new
column, the columns that are generated and stored. The source's settings are known (see
:mod:`relight.server.surroundings`) and the statement is run under them; a session may have had its own, though, and a
replica would be wrong then too. So such a table is in doubt, until the next full backup.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from relight.accounting import Create, Drop, DropDatabase, Rename, TableName, Truncate
from relight.lane.statement import effect_of, words_of, written_anew
from relight.lane.values import SYSTEM_ZONE, computes_with
from relight.verify.log_images import Logged

_GENERATED = re.compile(r"^.*\bGENERATED ALWAYS AS .*$", re.IGNORECASE | re.MULTILINE)
_STORED = re.compile(r"\bSTORED\b", re.IGNORECASE)
_SYSTEM = "SYSTEM"

Things = frozenset[str]
"""What values depend on, in words."""


def in_doubt(
    statements: Iterable[Logged], created: Mapping[TableName, str], zone_is_right: Callable[[int], bool]
) -> dict[TableName, str]:  # fmt: skip
    """The tables of a lane in small letters, with the reason in words. Pure.

    :param statements: those of the lane that commit by themselves, in the order of the log.
    :param created: what the snapshot's tables were defined as.
    :param zone_is_right: whether the source's ``SYSTEM`` in a segment, by its number, is known for certain, and replay
        had that zone.
    """
    found = _Doubts({_key(name): _generated(create) for name, create in created.items()})
    for one in statements:
        found.take(one, zone_is_right)
    return found.tables


def _generated(create: str) -> Things:
    """What the stored columns of a definition depend on; they may be made of columns that are not stored."""
    lines = _GENERATED.findall(create)
    return frozenset().union(*map(computes_with, lines)) if any(map(_STORED.search, lines)) else frozenset()


def _key(name: TableName) -> TableName:
    """Servers may or may not tell names apart by their case: better to doubt one too many."""
    return name[0].lower(), name[1].lower()


class _Doubts:
    def __init__(self, stored: dict[TableName, Things]) -> None:
        self.tables: dict[TableName, str] = {}
        self._stored = stored
        """What the generated columns of each table depend on."""

    def take(self, statement: Logged, zone_is_right: Callable[[int], bool]) -> None:
        things = computes_with(statement.query.sql)
        for name in map(_key, written_anew(statement.query.sql, statement.query.database)):
            kept = self._stored.get(name, frozenset())
            self._stored[name] = kept | things
            mine = set(things | kept)
            if statement.query.time_zone == _SYSTEM:
                mine.add(SYSTEM_ZONE)
            if SYSTEM_ZONE in mine and zone_is_right(statement.segment):
                mine.remove(SYSTEM_ZONE)
            if mine:
                with_what = " and ".join(sorted(mine))
                self.tables[name] = (
                    f"{statement.transaction} has computed values of it with {with_what}, which no log carries; "
                    "a new full backup ends the doubt"
                )
        self._follow(statement, things)

    def _follow(self, statement: Logged, things: Things) -> None:
        """What becomes of tables."""
        for operation in effect_of(statement.query.sql, statement.query.database).operations:
            if isinstance(operation, DropDatabase):
                self._forget([one for one in self._stored | self.tables if one[0] == operation.database.lower()])
                continue
            name = _key((operation.database, operation.table))
            if isinstance(operation, Rename):
                self._rename(name, _key((operation.new_database, operation.new_table)))
            elif isinstance(operation, Truncate):
                self.tables.pop(name, None)
            elif isinstance(operation, Drop):
                self._forget([name])
            elif isinstance(operation, Create) and name not in self.tables:
                self._stored[name] = things | self._named_in(statement.query.sql)

    def _named_in(self, sql: str) -> Things:
        """Of CREATE TABLE ... LIKE another."""
        words = words_of(sql)
        return frozenset().union(*(its for (_, table), its in self._stored.items() if table in words))

    def _forget(self, names: Iterable[TableName]) -> None:
        for name in list(names):
            self.tables.pop(name, None)
            self._stored.pop(name, None)

    def _rename(self, old: TableName, new: TableName) -> None:
        if old in self.tables:
            self.tables[new] = self.tables.pop(old)
        if old in self._stored:
            self._stored[new] = self._stored.pop(old)
