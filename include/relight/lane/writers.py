"""The connections that write to the rebuilt server: several side by side, each commit with its position."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial

from relight.backups.manifest import Surroundings
from relight.credentials import Login
from relight.errors import LaneBlocked, RelightError, ServerUnreachable
from relight.fleet import Server
from relight.lane import lane_progress
from relight.lane.pending import Divided, Write
from relight.server.session import Session, connect
from relight.server.surroundings import put_on

MOST_CONNECTIONS = 15
"""That write rows for one lane; one more runs its statements. Each holds a lock of its own, so that a resumed
lane can tell whether it is gone."""
_SETTINGS = (
    "SET SESSION sql_log_bin = 0, innodb_lock_wait_timeout = 600, transaction_isolation = 'READ-COMMITTED',"
    # Rows do not say under which one their stored columns were computed, see relight.server.surroundings.
    " sql_mode = @@GLOBAL.sql_mode"
)


def lock_name(lane: str, what: str) -> str:
    """A user-level lock of the lane: ``lane`` is held by who replays it, ``rows-N`` by the sessions that write."""
    return f"relight-{what}:{hashlib.sha256(lane.encode()).hexdigest()[:40]}"


def take_lock(session: Session, lane: str, what: str) -> None:
    """:raises LaneBlocked: (retryable) somebody holds it for ten minutes."""
    if session.value("SELECT GET_LOCK(%s, 600)", lock_name(lane, what)) != 1:
        raise LaneBlocked(
            "another session is replaying this lane", on=lane, hint="wait for it, or end it with KILL"
        )  # fmt: skip


def rows_session(
    server: Server, login: Login, lane: str, number: int, format_description: bytes, *, holder: int,
    local_files: bool = False,
) -> Session:  # fmt: skip
    """A session that takes ``BINLOG`` statements of a log with this format description.

    :param holder: the session that holds the lane for this process.
    :raises ServerUnreachable: it does not any more: its connection was lost.
    """
    session = connect(server, login, local_files=local_files)
    try:
        take_lock(session, lane, f"rows-{number}")
        _refuse_unless_held(session, lane, holder)
        _prepare(session, format_description)
    except RelightError:
        session.close()  # and with it the lock
        raise
    return session


def _refuse_unless_held(session: Session, lane: str, holder: int) -> None:
    """Whoever holds the lane now has waited for the sessions that were there, and knows nothing of this one."""
    if session.value("SELECT IS_USED_LOCK(%s)", lock_name(lane, "lane")) != holder:
        raise ServerUnreachable(
            "the connection that holds a lane was lost", on=lane, why="another one may be replaying the lane",
            hint="it is tried again; then the lane goes on where it is",
        )  # fmt: skip


def _prepare(session: Session, format_description: bytes) -> None:
    session.run(_SETTINGS)
    session.run(b"BINLOG '" + base64.b64encode(format_description) + b"'")
    # That event leaves the session's GTID undetermined, and the next statement would fail with 1782.
    session.run("SET gtid_next = 'AUTOMATIC'")
    # What mysqlbinlog sets too: the server then takes the log's word for what it would else decide.
    session.run("SET SESSION pseudo_slave_mode = ON")


class Writers:
    """Carries out writes, at most ``connections`` at the same time."""

    def __init__(self, server: Server, login: Login, lane: str, connections: int, *, holder: int) -> None:
        """``holder``: the session that holds the lane."""
        self.connections = min(max(connections, 1), MOST_CONNECTIONS)
        self._server = server
        self._login = login
        self._lane = lane
        self._holder = holder
        self._format_description = b""
        self._surroundings: tuple[Surroundings | None, str | None] = (None, None)
        self._free: list[int] = list(range(self.connections))
        self._sessions: dict[int, Session] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(self.connections, thread_name_prefix="write")

    def close(self) -> None:
        """End all connections; what was not committed is gone."""
        self._pool.shutdown(wait=True)
        self.forget()

    def forget(self) -> None:
        """End the connections; the next write opens others."""
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()

    def use(
        self, format_description: bytes, surroundings: Surroundings | None = None, zone: str | None = None
    ) -> None:  # fmt: skip
        """What follows comes from a log with this format description, of a source with these surroundings: writing a
        row computes its stored columns again. ``zone``: see :func:`~relight.server.surroundings.put_on`."""
        if (format_description, surroundings, zone) != (self._format_description, *self._surroundings):
            self.forget()
        self._format_description = format_description
        self._surroundings = surroundings, zone

    def carry_out(self, writes: Iterable[Write | Divided], told: Callable[[int], None]) -> None:
        """Commit everything. The first failure is raised when all have ended; the rest stays committed.

        :param told: told the bytes of log of every write, from several threads.
        """
        together: list[Write | Divided] = list(writes)
        divided = [write for write in together if isinstance(write, Divided)]
        self._all([partial(self._commit, write, told) for write in together if isinstance(write, Write)])
        for write in divided:
            self._commit_divided(write, told)

    def _all(self, jobs: list[Callable[[], None]]) -> None:
        running = [self._pool.submit(job) for job in jobs]
        wait(running)
        for one in running:
            one.result()

    def _commit(self, write: Write, told: Callable[[int], None]) -> None:
        with _Borrowed(self) as session:
            session.run("BEGIN")
            for blocks in write.blocks:
                send(session, blocks)
            lane_progress.advance_tables(session, self._lane, write.tables)
            session.run("COMMIT")
        told(write.size)

    def _commit_divided(self, write: Divided, told: Callable[[int], None]) -> None:
        """Parts are committed one by one. Should only some of them be there after a crash, the table is marked:
        what they wrote is written again then, by a session that does not mind."""
        with _Borrowed(self) as session:
            lane_progress.open_division(session, self._lane, write.table, write.before, write.to)
        for parts in write.phases:
            self._all([partial(self._part, part, again=write.again) for part in parts])
        with _Borrowed(self) as session:
            if write.position < write.to:
                lane_progress.open_division(session, self._lane, write.table, write.position, write.to)
            else:
                lane_progress.advance_tables(session, self._lane, {write.table: write.position})
        told(write.size)

    def _part(self, blocks: Iterator[bytes], *, again: bool) -> None:
        with _Borrowed(self) as session:
            if again:
                session.run("SET SESSION rbr_exec_mode = IDEMPOTENT")
            session.run("BEGIN")
            send(session, blocks)
            session.run("COMMIT")
            if again:
                session.run("SET SESSION rbr_exec_mode = STRICT")

    def borrow(self) -> tuple[int, Session]:
        """A connection that nobody uses, opened if need be."""
        with self._lock:
            number = self._free.pop()
        try:
            if number not in self._sessions:
                self._sessions[number] = self._opened(number)
        except RelightError:
            with self._lock:
                self._free.append(number)
            raise
        return number, self._sessions[number]

    def _opened(self, number: int) -> Session:
        session = rows_session(
            self._server, self._login, self._lane, number, self._format_description, holder=self._holder
        )  # fmt: skip
        try:
            put_on(session, *self._surroundings)
        except RelightError:
            session.close()
            raise
        return session

    def give_back(self, number: int, *, broken: bool) -> None:
        """The connection is free again; a broken one is ended, which rolls back what it had begun."""
        if broken and number in self._sessions:
            self._sessions.pop(number).close()
        with self._lock:
            self._free.append(number)


class _Borrowed:
    """A connection for the time of one job."""

    def __init__(self, writers: Writers) -> None:
        self._writers = writers
        self._number = -1

    def __enter__(self) -> Session:
        self._number, session = self._writers.borrow()
        return session

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._writers.give_back(self._number, broken=kind is not None)


def send(session: Session, blocks: Iterator[bytes]) -> None:
    """Send blocks of events."""
    for block in blocks:
        session.run(b"BINLOG '" + base64.b64encode(block) + b"'")
