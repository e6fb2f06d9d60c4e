"""Replays one lane onto the rebuilt server. This module tells replay's story.

Chunk by chunk, rows are collected table by table (:mod:`relight.lane.pending`) and written when they need too
much memory, or when the lane is through, by several connections at once (:mod:`relight.lane.writers`).
A transaction with statements stands alone: everything before it is written first. Every commit carries its
position, so a lane that was killed goes on at the first change that is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

import numpy as np

from relight.backups.manifest import Surroundings
from relight.credentials import Login
from relight.errors import LaneBlocked, RelightError, ReplayError, StatementFailed
from relight.fleet import Limits, Server
from relight.lane import lane_progress
from relight.lane.computing import Computing
from relight.lane.fingerprint import fingerprint, prepared_transactions
from relight.lane.lane_progress import Fence, Position, TableName
from relight.lane.modes import Mode, read_modes, tables_without_rollback
from relight.lane.net import NotProvable
from relight.lane.pending import Pending
from relight.lane.segments import LaneSegment
from relight.lane.statements import Statements, take_back
from relight.lane.stream import Chunk, Piece, StreamReader, chunks
from relight.lane.writers import MOST_CONNECTIONS, Writers, lock_name, take_lock
from relight.run_files import Lane
from relight.server.session import connect

Told = Callable[[int], None]

_MISSING_OBJECT = ("1049 ", "1146 ", "1305 ", "1356 ", "1360 ", "1449 ", "1517 ", "1824 ")
"""Unknown database, table, routine, view reference, trigger, definer, index or parent table."""
_NO_ROLLBACK = "a batch for a table whose engine cannot roll back was being written"
_TEMPORARY = "temporary tables of the log were open in the session that ended"


class _InOrder(Exception):
    """Changes could not be written as planned, or their net effect cannot be told: up to there, go in order."""

    def __init__(self, until: Position) -> None:
        super().__init__(until)
        self.until = until


class LaneApplier:
    """Replays one lane. A context manager: it holds the lane's lock meanwhile.

    ``in_order_again`` counts how often a batch could not be written as planned and was applied in order.
    """

    def __init__(self, server: Server, login: Login, lane: Lane, limits: Limits, *, use_net: bool = True) -> None:
        self._lane = lane
        self._limits = limits
        self._use_net = use_net
        self._control = connect(server, login)
        self._control.run("SET SESSION sql_log_bin = 0")
        self._writers = Writers(server, login, lane.name, lane.connections, holder=self._control.thread_id)
        self._computing = Computing(self._control)
        self._statements = Statements(server, login, lane.name, self._control, self._computing)
        self._surroundings: Surroundings | None = None
        self._careful_until: Position | None = None
        self.in_order_again = 0
        self._start_over()

    def _start_over(self) -> None:
        self._position = self._reached = lane_progress.START
        self._done: dict[TableName, Position] = {}
        self._divided: dict[TableName, Position] = {}
        self._modes: dict[TableName, Mode] | None = None
        self._loose: frozenset[TableName] | None = None
        self._pending: Pending | None = None
        self._reached_in: LaneSegment | None = None
        self._collected = self._size = 0

    def __enter__(self) -> Self:
        try:
            self._take_locks()
        except RelightError:
            self._close()  # else this process would be in its own way when it tries again
            raise
        return self

    def _take_locks(self) -> None:
        take_lock(self._control, self._lane.name, "lane")
        # A killed task's sessions may still be running their last statement, a long ALTER say: until they are
        # gone, nobody can tell what they have done.
        for number in range(MOST_CONNECTIONS + 1):
            take_lock(self._control, self._lane.name, f"rows-{number}")
            self._control.run("DO RELEASE_LOCK(%s)", lock_name(self._lane.name, f"rows-{number}"))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        self._writers.close()
        self._statements.forget()
        self._control.close()

    def replay(self, segments: Iterable[LaneSegment], told: Told) -> None:
        """Apply the lane's streams from where it stands, segment by segment; ``told`` gets the bytes of log of
        every commit, from several threads.

        What cannot be written as planned is applied once more, in order and one transaction at a time: then it
        either goes through or tells which transaction is in the way.

        :raises ReplayError: the lane cannot go on; what came before stays committed. LaneBlocked: (retryable)
            it needs something of another lane.
        """
        seen: list[LaneSegment] = []
        rest = iter(segments)
        while True:
            self._resume()
            try:
                self._walk(_again(seen, rest), told)
            except _InOrder as problem:
                self._careful_until = problem.until
                self.in_order_again += 1
            else:
                lane_progress.finish(self._control, self._lane.name)
                return

    def _resume(self) -> None:
        """Read where the lane and its tables stand, with an interrupted statement settled first."""
        self._start_over()
        state = lane_progress.load(self._control, self._lane.name)
        if state.torn:
            raise ReplayError(
                "a lane cannot be resumed", on=self._lane.name, why=state.torn,
                hint="start a new run: it restores the base again",
            )  # fmt: skip
        self._position = state.position
        take_back(self._control)
        fence = state.fence
        if fence is not None and self._seen(xa=fence.xa, tables=fence.tables) != fence.before:
            # It happened; only what was to follow it did not, and its position was not recorded.
            for statement in fence.owed:
                self._control.run(statement)
            lane_progress.advance(self._control, self._lane.name, fence.position, size=fence.size)
            self._position = fence.position
        self._reached = self._position
        tables = lane_progress.load_tables(self._control, self._lane.name)
        self._done = {name: table.position for name, table in tables.items()}
        self._divided = {name: table.divided_to for name, table in tables.items() if table.divided_to is not None}

    def _seen(self, *, xa: bool, tables: Sequence[TableName] = ()) -> str:
        if xa:
            return prepared_transactions(self._control)
        return fingerprint(self._control, self._lane.databases, tables)

    def _walk(self, segments: Iterator[LaneSegment], told: Told) -> None:
        last = None
        for segment in segments:
            if segment.number < self._position.segment or not segment.files:
                continue
            readers = [StreamReader(file) for file in segment.files]
            self._use(readers[0].format_description, segment, told)
            for chunk in chunks(readers):
                position = Position(segment.number, chunk.last)
                if position <= self._position:
                    continue
                if chunk.pieces:
                    self._stand_alone(chunk, position, segment, told)
                else:
                    self._take_rows(chunk, segment, told)
            last = segment
        if last is not None:
            self._write_all(last, told)

    def _use(self, format_description: bytes, segment: LaneSegment, told: Told) -> None:
        around = segment.surroundings
        if format_description != self._statements.format_description or around != self._surroundings:
            self._write_all(segment, told)
            self._statements.settle()
        self._surroundings = around
        self._writers.use(format_description, around, self._computing.zone(around))
        self._statements.format_description = format_description
        self._statements.compute_as(around)

    def _take_rows(self, chunk: Chunk, segment: LaneSegment, told: Told) -> None:
        careful = self._careful_until is not None and Position(segment.number, 0) <= self._careful_until
        most = 1 if careful else self._limits.transactions_per_batch
        for part, count in _portions(chunk, most):
            position = Position(segment.number, part.last)
            if self._careful_until is not None and position > self._careful_until:
                self._write_all(segment, told)
                self._careful_until = self._pending = None
            self._collect(part, position, segment, told)
            self._collected += count
            if self._collected >= most:
                self._write_all(segment, told)

    def _collect(self, chunk: Chunk, position: Position, segment: LaneSegment, told: Told) -> None:
        pending = self._collecting()
        self._write(pending, pending.must_write_before(chunk.rows), segment, told)
        try:
            pending.take(chunk.rows, segment.number)
        except NotProvable:
            raise _InOrder(position) from None
        self._reached, self._reached_in = position, segment
        self._size += chunk.size
        if pending.memory > self._limits.batch_mib << 20:
            # Small tables that change all the time stay: the longer, the less of it has to be written.
            self._write(pending, pending.largest(pending.memory // 2), segment, told)

    def _collecting(self) -> Pending:
        if self._pending is None:
            self._modes = read_modes(self._control, self._lane.databases)
            self._pending = Pending(
                self._modes,
                self._at,
                self._divided,
                use_net=self._use_net and self._careful_until is None,
                keeps_row_order=self._lane.keeps_row_order,
            )
        return self._pending

    def _at(self, table: TableName) -> Position:
        return max(self._done.get(table, self._position), self._position)

    def _write(self, pending: Pending, tables: Collection[TableName], segment: LaneSegment, told: Told) -> None:
        if not tables:
            return
        writes = list(pending.writes(tables, self._writers.connections))
        fragile = [name for write in writes for name in write.tables if name in (self._modes or {})]
        fragile = [name for name in fragile if self._modes and not self._modes[name].transactional]
        if fragile:
            lane_progress.mark_torn(self._control, self._lane.name, _NO_ROLLBACK)
        try:
            self._writers.carry_out(writes, told)
        except StatementFailed as refused:
            if fragile or self._careful_until is not None:
                # What is written now may have been collected from the segment before.
                names = (self._reached_in or segment).names
                raise self._explained(refused, names.of(self._reached.transaction)) from refused
            raise _InOrder(self._reached) from refused
        for write in writes:
            self._done.update(write.tables)
        if fragile:
            lane_progress.mark_torn(self._control, self._lane.name, self._torn)

    @property
    def _torn(self) -> str:
        return _TEMPORARY if self._statements.has_temporary_tables else ""

    def _write_all(self, segment: LaneSegment, told: Told) -> None:
        """Everything that was read so far is committed, and the lane's position says so."""
        if self._pending is not None:
            self._write(self._pending, self._pending.tables, segment, told)
        if self._reached > self._position:
            lane_progress.advance(self._control, self._lane.name, self._reached, size=self._size, torn=self._torn)
            self._position = self._reached
        self._collected = self._size = 0

    def _stand_alone(self, chunk: Chunk, position: Position, segment: LaneSegment, told: Told) -> None:
        """One transaction with statements: those that commit by themselves behind a fence, others with their
        position."""
        self._write_all(segment, told)
        fence = any(piece.fence for piece in chunk.pieces)
        if self._is_fragile(chunk.pieces):
            lane_progress.mark_torn(self._control, self._lane.name, _NO_ROLLBACK)
        if fence:
            xa = any(piece.xa for piece in chunk.pieces)
            tables = self._statements.only_about(chunk.pieces)
            before = self._seen(xa=xa, tables=tables)
            owed = self._statements.owed(chunk.pieces)
            opened = Fence(position, chunk.size, before, xa, owed, tables)
            lane_progress.open_fence(self._control, self._lane.name, opened)
        session = self._statements.session_for(chunk.pieces)
        try:
            if not fence:
                session.run("BEGIN")
            self._statements.run(chunk.pieces)
            if not fence:
                lane_progress.advance(session, self._lane.name, position, size=chunk.size, torn=self._torn)
            session.run("COMMIT")
        except StatementFailed as refused:
            self._statements.forget()
            raise self._explained(refused, chunk.pieces[0].gtid) from refused
        if fence:
            lane_progress.advance(self._control, self._lane.name, position, size=chunk.size, torn=self._torn)
            self._pending = self._modes = self._loose = None  # the definitions may have changed
        self._statements.rest()
        self._position = self._reached = position
        told(chunk.size)

    def _is_fragile(self, pieces: Sequence[Piece]) -> bool:
        """Whether some of it could be there although the session ended before its end."""
        if any(piece.fence for piece in pieces):
            return False
        if self._loose is None:
            self._loose = tables_without_rollback(self._control)
        touched = {name for piece in pieces for name in piece.tables}
        if not any(piece.statement for piece in pieces):
            return not touched.isdisjoint(self._loose)
        self._collecting()
        # A statement may change any table, and one that is not known yet is made by it.
        return bool(self._loose) or not touched <= set(self._modes or {})

    def _explained(self, refused: StatementFailed, transaction: str) -> ReplayError:
        if refused.why.startswith(_MISSING_OBJECT):
            return LaneBlocked(
                "a lane waits for something of another lane", on=f"{self._lane.name}, {transaction}", why=refused.why,
                hint="it is tried again after the others; if it stays, an object is missing in the snapshot",
            )  # fmt: skip
        return ReplayError(
            "a lane cannot go on", on=f"{self._lane.name}, {transaction}", why=refused.why,
            hint="look at this transaction with mysqlbinlog; the server stays closed",
        )  # fmt: skip


def _again(seen: list[LaneSegment], rest: Iterator[LaneSegment]) -> Iterator[LaneSegment]:
    """Segments that were seen before, then the others, which are remembered."""
    yield from list(seen)
    for segment in rest:
        seen.append(segment)
        yield segment


def _portions(chunk: Chunk, most: int) -> Iterator[tuple[Chunk, int]]:
    """Cut a chunk of rows into portions of at most so many transactions, each with their number."""
    numbers = np.unique(np.concatenate([rows.transactions for rows in chunk.rows]))
    if numbers.size <= most:
        yield chunk, numbers.size
        return
    for start in range(0, numbers.size, most):
        mine = numbers[start : start + most]
        bounds = [int(mine[0]), int(mine[-1]) + 1]
        cut = [rows.part(*rows.transactions.searchsorted(bounds).tolist()) for rows in chunk.rows]
        yield Chunk(chunk.number, int(mine[-1]), tuple(rows for rows in cut if rows.ends.size), ()), mine.size
