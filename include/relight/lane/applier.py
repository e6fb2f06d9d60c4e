"""Applies one lane to the rebuilt server: batches, fences, and a position that is never wrong.

Knows nothing of the log's format beyond "bytes to send": composing is done in
:mod:`relight.binlog.compose`, rendering of statements in :mod:`relight.lane.rendering`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from relight.binlog import format as f
from relight.binlog.rows import TableMap, read_table_map, table_id
from relight.credentials import Login
from relight.errors import LaneBlocked, ReplayError, ServerUnreachable, StatementFailed
from relight.fleet import Limits, Server
from relight.lane import lane_progress
from relight.lane.fingerprint import fingerprint
from relight.lane.lane_progress import Fence, Position
from relight.lane.merging import RowChange, merge
from relight.lane.modes import Mode, TableName, read_modes
from relight.lane.rendering import render
from relight.lane.stream import Piece, Portion, StreamReader, portions
from relight.run_files import Lane
from relight.server.session import Session, connect

_MISSING_OBJECT = ("1049 ", "1146 ", "1305 ", "1356 ", "1360 ", "1449 ", "1517 ", "1824 ")
"""Unknown database, table, routine, view reference, trigger, definer, index or parent table."""


@dataclass
class _Batch:
    """Portions that will be committed together."""

    portions: list[Portion]
    size: int
    segment: int
    format_description: bytes


class LaneApplier:
    """Applies portions of one lane in order. A context manager: it holds the lane's lock meanwhile."""

    def __init__(self, server: Server, login: Login, lane: Lane, limits: Limits, *, use_net: bool = True) -> None:
        self._server = server
        self._login = login
        self._lane = lane
        self._limits = limits
        self._session: Session | None = None
        self._described: bytes = b""
        self._maps: dict[bytes, TableMap] = {}
        self._use_net = use_net
        self._modes: Mapping[TableName, Mode] | None = None
        self._control = connect(server, login)
        self._control.run("SET SESSION sql_log_bin = 0")

    def __enter__(self) -> Self:
        self._take_lock(self._control, "lane")
        # A killed task's session may still be running its last statement, a long ALTER say: until it is
        # gone, nobody can tell what it has done.
        self._take_lock(self._control, "rows")
        self._control.run("DO RELEASE_LOCK(%s)", lock_name(self._lane.name, "rows"))
        return self

    def _take_lock(self, session: Session, what: str) -> None:
        if session.value("SELECT GET_LOCK(%s, 600)", lock_name(self._lane.name, what)) != 1:
            raise LaneBlocked(
                "another session is replaying this lane", on=self._lane.name, hint="wait for it, or end it with KILL"
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.forget_session()
        self._control.close()

    def resume(self) -> Position:
        """The position that replay goes on behind, with an interrupted DDL statement settled first."""
        state = lane_progress.load(self._control, self._lane.name)
        if state.fence is None:
            return state.position
        if fingerprint(self._control, self._lane.databases) == state.fence.schema_before:
            return state.position  # it did not happen: it comes again
        fence = state.fence
        lane_progress.advance(self._control, self._lane.name, fence.position, size=fence.size, transactions=1)
        return fence.position

    def replay(self, segments: Iterable[tuple[int, Sequence[Path]]], told: Callable[[int], None]) -> int:
        """Apply the lane's streams from where it stands: per segment, in order, its number and stream files.

        Gives the number of transactions; ``told`` gets the bytes of every commit.
        """
        done = self.resume()
        count = 0
        for number, files in segments:
            if number < done.segment or not files:
                continue
            readers = [StreamReader(file) for file in files]
            behind = done.transaction if number == done.segment else 0
            left = (portion for portion in portions(readers) if portion.transaction > behind)
            count += self.apply(number, readers[0].format_description, left, told)
        return count

    def apply(
        self, segment: int, format_description: bytes, portions: Iterable[Portion], told: Callable[[int], None]
    ) -> int:
        """Apply a segment's portions, in order; ``told`` gets the bytes of every commit. Gives the
        number of transactions.

        :raises ReplayError: a portion was refused; what came before it stays committed.
        """
        batch = _Batch([], 0, segment, format_description)
        count = 0
        for portion in portions:
            count += 1
            if portion.fence:
                self._commit(batch, told)
                self._run_fence(segment, format_description, portion)
                told(portion.size)
                continue
            batch.portions.append(portion)
            batch.size += portion.size
            if len(batch.portions) >= self._limits.transactions_per_batch or batch.size >= self._limits.batch_mib << 20:
                self._commit(batch, told)
        self._commit(batch, told)
        return count

    def _commit(self, batch: _Batch, told: Callable[[int], None]) -> None:
        if not batch.portions:
            return
        last = batch.portions[-1].transaction
        session = self._rows_session(batch.format_description)
        with self._explaining(batch.portions):
            session.run("BEGIN")
            renew = self._send(session, batch.format_description, batch.portions)
            lane_progress.advance(
                session, self._lane.name, Position(batch.segment, last), size=batch.size,
                transactions=len(batch.portions),
            )  # fmt: skip
            session.run("COMMIT")
        if renew:
            self.forget_session()
        told(batch.size)
        batch.portions.clear()
        batch.size = 0

    def _run_fence(self, segment: int, format_description: bytes, portion: Portion) -> None:
        position = Position(segment, portion.transaction)
        before = fingerprint(self._control, self._lane.databases)
        lane_progress.open_fence(self._control, self._lane.name, Fence(position, portion.size, before))
        self.forget_session()
        session = self._rows_session(format_description)
        with self._explaining([portion]):
            self._send(session, format_description, [portion])
            session.run("COMMIT")
        self.forget_session()
        self._modes = None  # the definitions may have changed
        lane_progress.advance(self._control, self._lane.name, position, size=portion.size, transactions=1)

    def _send(self, session: Session, format_description: bytes, portions: list[Portion]) -> bool:
        """Send everything; True when statements have changed the session's settings."""
        changes: list[RowChange] = []
        renew = False
        for portion in portions:
            for piece in portion.pieces:
                if not piece.statement:
                    changes.extend(self._row_changes(piece))
                    continue
                self._flush(session, changes)
                for statement in render(self._server.mysqlbinlog, format_description, piece.events):
                    session.run(statement)
                renew = True
        self._flush(session, changes)
        return renew

    def _row_changes(self, piece: Piece) -> Iterator[RowChange]:
        mapped: dict[bytes, tuple[TableMap, bytes]] = {}
        for event in piece.events:
            body = memoryview(event)[f.HEADER_SIZE :]
            if event[4] == f.TABLE_MAP:
                key = event[f.HEADER_SIZE :]
                if key not in self._maps:
                    self._maps[key] = read_table_map(body)
                table = self._maps[key]
                mapped[table.table_id] = (table, event)
            else:
                yield RowChange(*mapped[table_id(body)], event)

    def _flush(self, session: Session, changes: list[RowChange]) -> None:
        if not changes:
            return
        if self._modes is None:
            self._modes = read_modes(self._control, self._lane.databases) if self._use_net else {}
        for block in merge(changes, self._modes):
            session.run(b"BINLOG '" + base64.b64encode(block) + b"'")
        changes.clear()

    def _rows_session(self, format_description: bytes) -> Session:
        if self._session is not None and self._described == format_description:
            return self._session
        self.forget_session()
        session = connect(self._server, self._login)
        self._take_lock(session, "rows")
        session.run("SET SESSION sql_log_bin = 0, innodb_lock_wait_timeout = 600, wait_timeout = 86400")
        session.run(b"BINLOG '" + base64.b64encode(format_description) + b"'")
        # That event leaves the session's GTID undetermined, and the next statement would fail with 1782.
        session.run("SET gtid_next = 'AUTOMATIC'")
        # What mysqlbinlog sets too: the server then takes the log's word for what it would else decide.
        session.run("SET SESSION pseudo_slave_mode = ON")
        self._session, self._described = session, format_description
        return session

    def forget_session(self) -> None:
        """End the session that sends rows; the next one starts with settings of its own."""
        if self._session is not None:
            self._session.close()
        self._session = None

    def _explaining(self, portions: list[Portion]) -> _Explaining:
        return _Explaining(self, self._lane.name, portions)


class _Explaining:
    """Turns a refused statement into an error of the lane, and drops the session: what was not
    committed is gone."""

    def __init__(self, applier: LaneApplier, lane: str, portions: list[Portion]) -> None:
        self._applier = applier
        self._lane = lane
        self._portions = portions

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        self._applier.forget_session()
        if isinstance(error, ServerUnreachable) or not isinstance(error, StatementFailed):
            return
        gtids = self._portions[0].pieces[0].gtid
        if len(self._portions) > 1:
            gtids += f" to {self._portions[-1].pieces[0].gtid}"
        if error.why.startswith(_MISSING_OBJECT):
            raise LaneBlocked(
                "a lane waits for something of another lane", on=f"{self._lane}, {gtids}", why=error.why,
                hint="it is tried again after the others; if it stays, an object is missing in the snapshot",
            ) from error  # fmt: skip
        raise ReplayError(
            "a lane cannot go on", on=f"{self._lane}, {gtids}", why=error.why,
            hint="look at these transactions with mysqlbinlog; the server stays closed",
        ) from error  # fmt: skip


def lock_name(lane: str, what: str) -> str:
    """A user-level lock of the lane: ``lane`` is held by who replays it, ``rows`` by the session that writes."""
    return f"relight-{what}:{hashlib.sha256(lane.encode()).hexdigest()[:40]}"
