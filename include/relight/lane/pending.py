"""What a lane has read and not yet written: per table, the net effect or the events in order.

Decides, never acts: it takes rows, says how much it holds, and gives writes to be carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from relight.errors import ReplayError
from relight.lane.lane_progress import Position
from relight.lane.modes import Mode, TableName
from relight.lane.net import NetEffect
from relight.lane.ordered import in_order
from relight.lane.stream import Rows

_WORTH_DIVIDING = 20_000
"""A net effect with fewer rows for each part is not worth more than one connection."""

_LINKED: TableName = ("", "")
"""Stands for all tables that foreign keys link, where they must keep their order among themselves."""


@dataclass(frozen=True)
class Write:
    """What one connection commits at once: the blocks to send, and the position each of the tables then has."""

    tables: Mapping[TableName, Position]
    blocks: Sequence[Iterator[bytes]]
    size: int
    """Bytes of log that it stands for."""


@dataclass(frozen=True)
class Divided:
    """One table's net effect, in phases; several connections may commit the parts of a phase side by side, in any
    order.

    ``before``: where the table is; ``position``: where it will be. ``to``: how far parts of it may be while this
    is going on. ``again``: some of it may be there already.
    """

    table: TableName
    before: Position
    position: Position
    to: Position
    again: bool
    phases: Sequence[Sequence[Iterator[bytes]]]
    size: int

    @property
    def tables(self) -> Mapping[TableName, Position]:
        """The table's position when all parts are there."""
        return {self.table: self.position}


@dataclass
class _Table:
    position: Position
    size: int = 0
    net: NetEffect | None = None
    groups: list[list[Rows]] = field(default_factory=list)

    @property
    def memory(self) -> int:
        return self.net.memory if self.net else self.size


class Pending:
    """Collects the rows of a lane, table by table."""

    def __init__(
        self, modes: Mapping[TableName, Mode], done: Callable[[TableName], Position],
        divided: Mapping[TableName, Position], *, use_net: bool = True, keeps_row_order: bool = False,
    ) -> None:  # fmt: skip
        """``done``: how far a table is. ``divided``: tables that may hold parts of what comes, up to a position.
        Without ``use_net`` every table is applied in order; with ``keeps_row_order`` those without a key are."""
        self._modes = modes
        self._done = done
        self._divided = divided
        self._use_net = use_net
        self._keeps_row_order = keeps_row_order
        self._tables: dict[TableName, _Table] = {}
        self._linked_in_order = False

    @property
    def memory(self) -> int:
        """Bytes held, or to be held when it is written."""
        return sum(table.memory for table in self._tables.values())

    @property
    def tables(self) -> list[TableName]:
        """Those that have something to be written, what needs most memory first."""
        return sorted(self._tables, key=lambda name: -self._tables[name].memory)

    def largest(self, memory: int) -> list[TableName]:
        """The tables that need most, as many as need so much together."""
        found: list[TableName] = []
        for name in self.tables:
            found.append(name)
            memory -= self._tables[name].memory
            if memory <= 0:
                break
        return found

    def must_write_before(self, chunk: Sequence[Rows]) -> list[TableName]:
        """The tables that have to be written before a chunk is taken, since it must be applied in another way."""
        if not self._linked_in_order and any(self._cascades_silently(rows) for rows in chunk):
            # From here on the server cascades by itself, so the tables that are linked keep their order.
            self._linked_in_order = True
            return [name for name in self._tables if self._is_linked(name)]
        return [rows.table.name for rows in chunk if self._changes_its_way(rows)]

    def take(self, chunk: Sequence[Rows], segment: int) -> None:
        """Add the rows of a chunk. :raises NotProvable: a table's net effect cannot be told."""
        linked = []
        for rows in chunk:
            rest = self._not_done(rows, segment)
            if not rest.ends.size:
                continue
            name = rows.table.name
            if self._linked_in_order and self._is_linked(name):
                self._refuse_to_repeat(name)
                linked.append(rest)
                continue
            table = self._tables.setdefault(name, _Table(Position(0, 0)))
            if self._net(rows):
                table.net = table.net or self._new_net(rows)
                table.net.add(rest)
            else:
                self._refuse_to_repeat(name)
                table.groups.append([rest])
            self._took(table, rest, segment)
        if linked:
            table = self._tables.setdefault(_LINKED, _Table(Position(0, 0)))
            table.groups.append(linked)
            for rest in linked:
                self._took(table, rest, segment)

    def writes(self, names: Collection[TableName], connections: int) -> Iterator[Write | Divided]:
        """Hand over what these tables have; they are empty then. Largest first."""
        for name in sorted(names, key=lambda n: -self._tables[n].memory if n in self._tables else 0):
            table = self._tables.pop(name, None)
            if table is None:
                continue
            again = self._may_be_there(name)
            parts = min(connections, table.net.keys // _WORTH_DIVIDING) if table.net and table.net.divisible else 1
            if table.net and (parts > 1 or again):
                to = max(table.position, self._divided[name]) if again else table.position
                phases = table.net.phases(max(parts, 1), again=again)
                yield Divided(name, self._done(name), table.position, to, again, phases, table.size)
            elif table.net:
                yield Write({name: table.position}, table.net.statements(), table.size)
            else:
                tables = {rows.table.name: table.position for group in table.groups for rows in group}
                blocks = in_order(table.groups, self._keyless(tables), self._unique_only(tables))
                yield Write(tables, [blocks], table.size)

    def _may_be_there(self, name: TableName) -> bool:
        """Whether an earlier attempt was ended between the parts of a division that reaches further."""
        return name in self._divided and self._done(name) < self._divided[name]

    def _keyless(self, names: Collection[TableName]) -> frozenset[TableName]:
        return frozenset(n for n in names if n not in self._modes or not self._modes[n].has_key)

    def _unique_only(self, names: Collection[TableName]) -> frozenset[TableName]:
        return frozenset(n for n in names if n in self._modes and self._modes[n].unique_only)

    def _refuse_to_repeat(self, name: TableName) -> None:
        if self._may_be_there(name):
            raise ReplayError(
                "a table cannot be resumed", on=".".join(name),
                why="parts of its changes were committed side by side when replay was ended, and now they would have"
                    " to be applied in order",
                hint="start a new run: it restores the base again",
            )  # fmt: skip

    def _took(self, table: _Table, rows: Rows, segment: int) -> None:
        table.position = max(table.position, Position(segment, int(rows.transactions[-1])))
        table.size += rows.size

    def _not_done(self, rows: Rows, segment: int) -> Rows:
        done = self._done(rows.table.name)
        if segment > done.segment:
            return rows
        behind = done.transaction if segment == done.segment else int(rows.transactions[-1])
        first = int(rows.transactions.searchsorted(behind, side="right"))
        return rows.part(first, rows.ends.size) if first else rows

    def _net(self, rows: Rows) -> bool:
        name = rows.table.name
        mode = self._modes.get(name)
        return (
            self._use_net and mode is not None and mode.table is not None and rows.full
            and len(rows.table.map.widths) == mode.table.columns
            and (mode.has_key or not self._keeps_row_order)
            and (not mode.linked or (rows.cascades_logged and not self._linked_in_order))
        )  # fmt: skip

    def _new_net(self, rows: Rows) -> NetEffect:
        table = self._modes[rows.table.name].table
        assert table is not None  # noqa: S101 -- asked before, in _net
        return NetEffect(table, rows.table)

    def _changes_its_way(self, rows: Rows) -> bool:
        table = self._tables.get(rows.table.name)
        if table is None:
            return False
        if table.net is None:
            return self._net(rows)
        return not self._net(rows) or table.net.shape != rows.table.map.shape

    def _is_linked(self, name: TableName) -> bool:
        return name in self._modes and self._modes[name].linked

    def _cascades_silently(self, rows: Rows) -> bool:
        return self._is_linked(rows.table.name) and not rows.cascades_logged
