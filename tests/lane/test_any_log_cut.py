"""Logs that end early, and logs with something in them that must not be guessed at."""

from __future__ import annotations

from pathlib import Path

import pytest

from relight.binlog import format as f
from relight.errors import BinlogError, CorruptEvent, TruncatedLog, UnsupportedEvent
from relight.lane.split_log import split_log
from relight.server import mysqld
from relight.server.session import Session
from tests.lane.test_any_log import BASE, change
from tests.lane.test_any_log_xa import xa
from tests.support.older_logs import Raw, read, replaced, rewritten, write
from tests.support.servers import kill
from tests.support.twins import Twins


def write_all_kinds(session: Session) -> None:
    """A few transactions of every form."""
    change(session, 3, 3)
    session.run("CREATE TABLE b.made (id INT PRIMARY KEY)")
    xa(session, "'x'", "INSERT INTO b.made VALUES (1)")
    session.run("XA COMMIT 'x'")
    xa(session, "'y'", "INSERT INTO b.made VALUES (2)", end="XA COMMIT 'y' ONE PHASE")
    session.run("CREATE TABLE b.copied SELECT * FROM b.made")
    session.run("SET SESSION binlog_transaction_compression = ON")
    change(session, 4, 2)
    session.run("SET SESSION binlog_transaction_compression = OFF, binlog_format = STATEMENT")
    session.run("INSERT INTO b.made VALUES (RAND() * 1000 + 10)")
    session.run("SET @v = 5")
    session.run("INSERT INTO b.made VALUES (@v)")


def ends_of_transactions(log: Path) -> list[int]:
    """Where the file may end with nothing missing, as seen from the outside: in front of every GTID event."""
    events, found, position = read(log), [], len(f.MAGIC)
    sizes = [f.HEADER_SIZE + len(event.body) + f.CHECKSUM_SIZE for event in events]
    for event, size in zip(events, sizes, strict=True):
        if event.type in (f.GTID, f.ANONYMOUS_GTID, f.ROTATE):
            found.append(position)
        position += size
    return found


def cut(log: Path, size: int, path: Path, *, in_use: bool) -> Path:
    """The beginning of a log, as a file that its server had open, or had closed."""
    content = bytearray(log.read_bytes()[:size])
    content[len(f.MAGIC) + 17] |= f.IN_USE * in_use
    path.write_bytes(content)
    return path


def test_cut_anywhere_what_is_whole_is_taken_and_what_is_not_is_told(twins: Twins, tmp_path: Path) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        write_all_kinds(session)
    (log,) = twins.logs
    ends = ends_of_transactions(log)
    number = 0
    for size in range(ends[0], log.stat().st_size, 7):
        for at in {size, *(end for end in ends if size <= end < size + 7)}:
            number += 1
            path = cut(log, at, tmp_path / "cut", in_use=True)
            folder = tmp_path / f"split-{number}"
            folder.mkdir()
            result = split_log(path, 0, folder)
            whole = [end for end in ends if end <= at]
            assert result.transactions == len(whole) - 1, f"cut at {at}"
            if at < ends[-1]:  # the ROTATE that is cut off at last belongs to no transaction
                assert result.cut_at == (None if at in ends else whole[-1]), f"cut at {at}"
            closed = cut(log, at, tmp_path / "closed", in_use=False)
            if at not in ends:
                with pytest.raises(TruncatedLog, match="closed at "):
                    split_log(closed, 0, folder)
                with pytest.raises(TruncatedLog, match="cut at "):
                    split_log(path, 0, folder, may_be_cut=False)


def test_the_open_file_of_a_killed_server(twins: Twins, tmp_path: Path) -> None:
    twins.prepare(*BASE)
    with twins.servers.connect(twins.source) as session:
        session.run("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
        session.run("FLUSH BINARY LOGS")
        log = Path(str(session.value("SELECT @@log_bin_basename"))).parent / str(
            session.rows("SHOW BINARY LOG STATUS")[0][0]
        )
        write_all_kinds(session)
        before, size = twins.state(), log.stat().st_size
        session.run("BEGIN")
        session.run("INSERT INTO b.made VALUES (777)")
        session.run("INSERT INTO a.bag VALUES (7, 'never committed, as far as the log goes')")
        session.run("COMMIT")
    content = log.read_bytes()
    kill(twins.source)
    mysqld.start(twins.source, twins.servers.admin).close()
    assert content[len(f.MAGIC) + 17] & f.IN_USE
    open_file = tmp_path / "whole" / log.name
    open_file.parent.mkdir()
    open_file.write_bytes(content[: size + 200])  # in the middle of a transaction, and of an event
    (split,) = twins.apply([open_file])
    assert split.cut_at == size
    twins.compare(before)


def test_garbage_at_the_end_of_an_open_file_is_refused(twins: Twins, tmp_path: Path) -> None:
    """As a power failure may leave it: that the rest is missing cannot be told from the rest being damaged."""
    twins.prepare(*BASE)
    with twins.writing() as session:
        change(session, 1, 3)
    (log,) = twins.logs
    end = ends_of_transactions(log)[-1]
    path = cut(log, end, tmp_path / "open", in_use=True)
    path.write_bytes(path.read_bytes() + bytes(300))
    problem = refused(path, tmp_path)
    assert isinstance(problem, CorruptEvent)
    assert f"(open at {end}, type 0)" in str(problem)


def refused(log: Path, tmp_path: Path) -> BinlogError:
    """What is said about a log."""
    (tmp_path / "refused").mkdir(exist_ok=True)
    with pytest.raises(BinlogError) as stopped:
        split_log(log, 0, tmp_path / "refused")
    return stopped.value


def position_of(log: Path, number: int) -> int:
    """Where the event with that number is."""
    return len(f.MAGIC) + sum(f.HEADER_SIZE + len(event.body) + f.CHECKSUM_SIZE for event in read(log)[:number])


def find(log: Path, kind: int) -> int:
    """The number of the last event of a type."""
    return max(number for number, event in enumerate(read(log)) if event.type == kind)


MESSAGE = b"the server was out of disk"
NEWER = Raw(type=77, body=b"something new")
INCIDENT = Raw(type=f.INCIDENT, body=(1).to_bytes(2, "little") + bytes([len(MESSAGE)]) + MESSAGE)


@pytest.mark.parametrize(("event", "why"), [(NEWER, "cannot carry"), (INCIDENT, "the server lost changes")])
@pytest.mark.parametrize("place", ["inside", "own transaction", "outside"])
def test_what_must_not_be_guessed_at_is_refused(twins: Twins, tmp_path: Path, event: Raw, why: str, place: str) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        change(session, 1, 3)
    (log,) = twins.logs
    events = read(log)
    gtid, xid = find(log, f.GTID), find(log, f.XID)
    if place == "inside":
        changed = rewritten(log, tmp_path / "new", replaced(xid, event, events[xid]))
        at = position_of(changed, xid)
    elif place == "own transaction":
        changed = rewritten(log, tmp_path / "new", replaced(xid, events[xid], events[gtid], event))
        at = position_of(changed, xid + 2)
    else:
        first = next(number for number, event in enumerate(events) if event.type == f.GTID)
        changed = rewritten(log, tmp_path / "new", replaced(first, event, events[first]))
        at = position_of(changed, first)
        why = why if event is INCIDENT else "outside any transaction"
    problem = refused(changed, tmp_path)
    assert isinstance(problem, UnsupportedEvent)
    name = "INCIDENT" if event is INCIDENT else "type 77"
    assert f"({log.name} at {at}, {name})" in str(problem)
    assert why in problem.why
    assert "restore to just before it" in problem.hint


def test_an_unknown_event_in_a_compressed_transaction_is_told_with_the_place_in_the_file(
    twins: Twins, tmp_path: Path
) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        change(session, 1, 3)
        session.run("SET SESSION binlog_transaction_compression = ON")
        change(session, 2, 3)
    (log,) = twins.logs
    number = find(log, f.TRANSACTION_PAYLOAD)
    # Not compressed after all: field 2 (compression) is 255, then the end mark, then events as they are.
    newer = f.HEADER.pack(0, NEWER.type, 1, f.HEADER_SIZE + len(NEWER.body), 0, 0) + NEWER.body
    payload = Raw(type=f.TRANSACTION_PAYLOAD, body=bytes([2, 3, 252, 255, 0, 0]) + newer)
    problem = refused(rewritten(log, tmp_path / "new", replaced(number, payload)), tmp_path)
    assert f"({log.name} at {position_of(log, number)}, type 77)" in str(problem)
    assert "restore to just before it" in problem.hint


def test_unknown_events_that_say_that_they_may_be_ignored_are(twins: Twins, tmp_path: Path) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        change(session)
    ignorable = Raw(type=77, body=b"something new", flags=f.MAY_BE_IGNORED)
    events = [new for event in read(twins.logs[0]) for new in (event, ignorable)]
    twins.replay([write(tmp_path / "log", [event for event in events if event is not events[-1]])])


def test_a_relay_log_is_refused(twins: Twins, tmp_path: Path) -> None:
    with twins.servers.connect(twins.planned) as session:
        source, replication = twins.source, twins.servers.template.logins.replication
        session.run(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST=%s, SOURCE_PORT=%s, SOURCE_USER=%s, SOURCE_PASSWORD=%s,"
            " SOURCE_SSL=1, SOURCE_AUTO_POSITION=1", source.host, source.port, replication.user,
            replication.password,
        )  # fmt: skip
        session.run("START REPLICA IO_THREAD")
        session.run("STOP REPLICA")
        relay = max(twins.planned.datadir.glob("relay.0*"))
        problem = refused(relay, tmp_path)
        session.run("RESET REPLICA ALL")
    assert isinstance(problem, UnsupportedEvent)
    assert f"({relay.name} at 4, FORMAT_DESCRIPTION): it is a relay log" in str(problem)
    assert "use the binary logs" in problem.hint


def test_an_encrypted_log_is_refused(twins: Twins, tmp_path: Path) -> None:
    log = tmp_path / "binlog.000001"
    log.write_bytes(f.ENCRYPTED_MAGIC + bytes(600))
    problem = refused(log, tmp_path)
    assert isinstance(problem, UnsupportedEvent)
    assert "binlog_encryption" in problem.hint
