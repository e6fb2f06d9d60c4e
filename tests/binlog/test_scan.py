"""The compiled scan finds what a slow reader finds, and lets no damage pass."""

from __future__ import annotations

import struct
import tempfile
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.binlog import format as f
from relight.binlog import kernels as k
from relight.binlog.reader import LogFile, open_log
from relight.binlog.scan import Scanned, scan
from relight.binlog.transactions import query_text, summarize
from relight.credentials import Login
from relight.errors import BinlogError, CorruptEvent, TruncatedLog, UnsupportedEvent
from relight.fleet import Server
from relight.gtid import Gtid, GtidSet
from relight.server.session import Session, connect
from tests.support.binlogs import create_everything, write_everything
from tests.support.made_events import Made, event, gtid, log_file, query, rotate, transaction, xid
from tests.support.replaying import logs_of, start_log
from tests.support.servers import Servers
from tests.support.slow_log import Transaction, transactions

KINDS = ("rows", "tagged", "compressed", "mixed", "unchecked", "statements", "xa", "small", "small unchecked")


@pytest.fixture(scope="module")
def logs(module_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Closed logs of a server, by what is in them."""
    server = module_servers.make("writer")
    data = tmp_path_factory.mktemp("data") / "rows.txt"
    data.write_bytes(b"801\n802\n")
    with module_servers.connect(server) as session:
        create_everything(session)
        session.run("CREATE TABLE kinds.s (a INT)")
        start_log(session)
        write = _Writer(server, module_servers.admin, session, str(data))
        return {name: write.one(name) for name in KINDS}


class _Writer:
    """Writes logs."""

    def __init__(self, server: Server, admin: Login, session: Session, data: str) -> None:
        self._server = server
        self._admin = admin
        self._session = session
        self._data = data

    def one(self, name: str) -> Path:
        """Write one, and close it."""
        getattr(self, name.replace(" ", "_"))(self._session)
        written = logs_of(self._session)[-1]
        self._session.run("SET GLOBAL binlog_checksum = CRC32")
        return written

    def rows(self, session: Session) -> None:
        write_everything(session)

    def tagged(self, session: Session) -> None:
        session.run("SET SESSION gtid_next = 'AUTOMATIC:night'")
        write_everything(session, 2)
        session.run("SET SESSION gtid_next = 'AUTOMATIC:a_tag_of_thirty_two_characters__'")
        session.run("INSERT INTO `other d`.plain (v) VALUES ('x')")
        session.run("SET SESSION gtid_next = 'AUTOMATIC'")

    def compressed(self, session: Session) -> None:
        session.run("SET SESSION binlog_transaction_compression = ON")
        write_everything(session, 3)
        session.run("SET SESSION binlog_transaction_compression = OFF")

    def mixed(self, session: Session) -> None:
        for n in range(30):
            session.run(f"SET SESSION binlog_transaction_compression = {n % 2}")
            session.run(f"SET SESSION gtid_next = 'AUTOMATIC{':t' if n % 3 else ''}'")
            session.run(f"INSERT INTO kinds.s VALUES ({n})")
            if n % 5 == 0:
                session.run(f"CREATE TABLE kinds.mixed{n} (a INT PRIMARY KEY)")
        session.run("SET SESSION gtid_next = 'AUTOMATIC', binlog_transaction_compression = OFF")

    def unchecked(self, session: Session) -> None:
        session.run("SET GLOBAL binlog_checksum = NONE")
        write_everything(session, 4)

    def statements(self, session: Session) -> None:
        session.run("CREATE TABLE kinds.made AS SELECT * FROM kinds.s")
        session.run("CREATE PROCEDURE kinds.p() INSERT INTO kinds.s VALUES (5)")
        for statement in ("BEGIN", "INSERT INTO kinds.s VALUES (1)", "SAVEPOINT one", "INSERT INTO kinds.s VALUES (2)",
                          "ROLLBACK TO one", "INSERT INTO kinds.s VALUES (3)", "COMMIT"):  # fmt: skip
            session.run(statement)
        session.run("SET SESSION binlog_format = 'STATEMENT'")
        session.run("SET @v = 7")
        session.run("INSERT INTO kinds.s VALUES (@v), (RAND(3))")
        session.run("INSERT INTO `other d`.plain (v) VALUES ('auto')")
        session.run("CALL kinds.p()")
        with connect(self._server, self._admin, local_files=True) as other:
            other.run("SET GLOBAL local_infile = ON")
            other.run("SET SESSION binlog_format = 'STATEMENT'")
            other.run(f"LOAD DATA LOCAL INFILE '{self._data}' INTO TABLE kinds.s")
        session.run("SET SESSION binlog_format = 'ROW', binlog_rows_query_log_events = ON")
        session.run("INSERT INTO kinds.s VALUES (9)")
        session.run("SET SESSION binlog_rows_query_log_events = OFF")
        session.run("CREATE TABLE kinds.old (a INT) ENGINE=MyISAM")
        session.run("INSERT INTO kinds.old VALUES (1)")
        session.run("CREATE USER reader@localhost")
        session.run("DROP TABLE kinds.old, kinds.made")

    def xa(self, session: Session) -> None:
        for name, end in (("a", "PREPARE 'a'"), ("b", "COMMIT 'b' ONE PHASE"), ("c", "PREPARE 'c'")):
            session.run(f"XA START '{name}'")
            session.run("INSERT INTO kinds.s VALUES (1), (2)")
            session.run(f"XA END '{name}'")
            session.run(f"XA {end}")
            if name != "b":
                session.run(f"XA {'COMMIT' if name == 'a' else 'ROLLBACK'} '{name}'")

    def small(self, session: Session) -> None:
        session.run("BEGIN")
        session.run("INSERT INTO kinds.s VALUES (1), (2)")
        session.run("UPDATE kinds.s SET a = 3 WHERE a = 2 LIMIT 1")
        session.run("COMMIT")
        session.run("ALTER TABLE kinds.s ADD COLUMN w INT")
        session.run("XA START 'x'")
        session.run("INSERT INTO kinds.s VALUES (3, 3)")
        session.run("XA END 'x'")
        session.run("XA PREPARE 'x'")
        session.run("XA COMMIT 'x'")
        session.run("SET SESSION binlog_format = 'STATEMENT'")
        session.run("INSERT INTO `other d`.plain (v) VALUES ('auto')")
        session.run("SET SESSION binlog_format = 'ROW'")
        session.run("INSERT INTO kinds.s VALUES (3, 3)")
        session.run("ALTER TABLE kinds.s DROP COLUMN w")

    def small_unchecked(self, session: Session) -> None:
        session.run("SET GLOBAL binlog_checksum = NONE")
        self.small(session)


@pytest.fixture(params=KINDS)
def log(request: pytest.FixtureRequest, logs: dict[str, Path]) -> Path:
    return logs[request.param]


def scanned(content: bytes) -> Scanned:
    return scan(LogFile(Path("binlog.000042"), content))


def told(found: Scanned) -> list[tuple[Gtid, int, datetime]]:
    listed = found.transactions
    return [(listed.gtid(n), int(listed.begins[n]), listed.committed(n)) for n in range(len(listed))]


def slowly(content: bytes) -> list[Transaction]:
    return list(transactions(LogFile(Path("binlog.000042"), content)))


def told_slowly(found: list[Transaction]) -> list[tuple[Gtid, int, datetime]]:
    return [(one.gtid, one.position, one.committed) for one in found]


def raw_ends(content: bytes) -> list[int]:
    """Where each transaction of a closed log ends: where the next GTID event, or what closes the file, begins."""
    log = LogFile(Path("binlog.000042"), content)
    heads = (f.GTID, f.GTID_TAGGED, f.ANONYMOUS_GTID)
    return [e.position for e in log.events() if e.type in (*heads, f.ROTATE, f.STOP)][1:]


def test_every_transaction_is_found_with_its_name_place_and_time(log: Path) -> None:
    content = log.read_bytes()
    found, slow = scanned(content), slowly(content)
    assert told(found) == told_slowly(slow)
    assert found.cut_at is None
    assert found.transactions.table[:, k.T_END].tolist() == raw_ends(content)
    assert found.transactions.gtids() == GtidSet.of(one.gtid for one in slow)
    assert not found.transactions.anonymous.any()


def is_plain(one: Transaction) -> bool:
    if len(one.events) < 2:
        return False
    first, *between, last = one.events
    brackets = first.type == f.QUERY and query_text(first) == b"BEGIN"
    ends = last.type == f.XID or (last.type == f.QUERY and query_text(last) == b"COMMIT")
    return brackets and ends and all(e.type in {f.TABLE_MAP} | f.ROWS | f.NOT_ABOUT_DATA for e in between)


def test_only_what_holds_rows_and_nothing_else_is_taken_for_plain(logs: dict[str, Path]) -> None:
    counts = {}
    for name, path in logs.items():
        with open_log(path) as log:
            packed = {e.position for e in log.events() if e.type == f.TRANSACTION_PAYLOAD}
            listed, slow = scan(log).transactions, list(transactions(log))
            kinds = listed.table[:, k.T_KIND]
            for n, one in enumerate(slow):
                is_packed = any(listed.table[n, k.T_BEGIN] < at < listed.table[n, k.T_END] for at in packed)
                assert bool(kinds[n] & k.PAYLOAD) == is_packed
                assert bool(kinds[n] & k.PLAIN) == (is_plain(one) and not is_packed), one
                assert bool(kinds[n] & k.TAGGED) == (":" in one.gtid.stream)
            counts[name] = int(((kinds & k.PLAIN) != 0).sum())
    assert counts["rows"] > 100
    assert counts["compressed"] == 0
    assert 0 < counts["statements"] < 8


def test_a_summary_is_that_of_the_slow_reader(log: Path) -> None:
    slow, summary = slowly(log.read_bytes()), summarize(log)
    times = [one.committed for one in slow]
    assert summary.gtids == GtidSet.of(one.gtid for one in slow)
    assert (summary.first_commit, summary.last_commit) == (times[0], max(times))
    assert (summary.transactions, summary.size) == (len(slow), log.stat().st_size)


def test_no_flipped_bit_anywhere_goes_unnoticed(logs: dict[str, Path]) -> None:
    content = logs["small"].read_bytes()
    in_use = len(f.MAGIC) + 17  # a flag that changes while the file is open, and that its checksum leaves out
    unnoticed = []
    for at in range(len(content)):
        for bit in range(8):
            if (at, bit) == (in_use, 0):
                continue
            changed = bytearray(content)
            changed[at] ^= 1 << bit
            try:
                scanned(bytes(changed))
            except BinlogError:
                continue
            unnoticed.append((at, bit))
    assert not unnoticed


def test_a_flipped_bit_is_named_with_its_event(logs: dict[str, Path]) -> None:
    content = logs["small"].read_bytes()
    for one in LogFile(Path("log"), content).events():
        changed = bytearray(content)
        changed[one.position + f.HEADER_SIZE + len(one.body) // 2] ^= 0x10
        place = rf"binlog.000042 at {one.position}, {f.type_name(one.type)}\): .*checksum"
        with pytest.raises(CorruptEvent, match=place):
            scanned(bytes(changed))


SMALL = ("small", "small unchecked")


@pytest.mark.parametrize("name", SMALL)
def test_a_closed_file_cut_anywhere_is_truncated_unless_it_ends_between_two_transactions(
    logs: dict[str, Path], name: str
) -> None:
    """A server that comes back after a crash cuts its last log there and marks it as closed."""
    content = logs[name].read_bytes()
    whole, ends = scanned(content), raw_ends(content)
    starts = told(whole)[0][1]
    for size in range(len(f.MAGIC), len(content)):
        if size in ends or size == starts:
            found = scanned(content[:size])
            assert told(found) == [one for one in told(whole) if one[1] < size]
            assert found.cut_at is None
        elif size < starts and _is_between_events(content, size):
            assert told(scanned(content[:size])) == []
        else:
            with pytest.raises(BinlogError, match=r"binlog\.000042 at") as refused:
                scanned(content[:size])
            assert size < starts or isinstance(refused.value, TruncatedLog)


def _is_between_events(content: bytes, size: int) -> bool:
    log = LogFile(Path("log"), content)
    return size in {log.first_event, *(e.position for e in log.events())}


@pytest.mark.parametrize("name", SMALL)
def test_of_a_file_that_was_not_closed_every_whole_transaction_is_found_wherever_it_ends(
    logs: dict[str, Path], name: str
) -> None:
    content = in_use(logs[name].read_bytes())
    whole, ends = told(scanned(content)), raw_ends(content)
    first = LogFile(Path("log"), content).first_event
    for size in range(first, len(content)):
        found = scanned(content[:size])
        complete = [one for one, end in zip(whole, ends, strict=True) if end <= size]
        assert told(found) == complete, f"cut at {size}"
        assert found.transactions.table[:, k.T_END].tolist() == ends[: len(complete)]
        behind = ends[len(complete) - 1] if complete else whole[0][1]
        if size < whole[0][1]:
            assert found.cut_at is None or found.cut_at < whole[0][1]
        else:
            assert found.cut_at == (None if size == behind or size == len(content) else behind), f"cut at {size}"


def in_use(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[len(f.MAGIC) + 17] |= f.IN_USE
    return bytes(changed)


def test_what_a_server_that_is_still_writing_has_written_so_far_is_read(servers: Servers) -> None:
    server = servers.make("busy")
    with servers.connect(server) as session:
        start_log(session)
        session.run("CREATE DATABASE d")
        base = Path(str(session.value("SELECT @@log_bin_basename")))
        (active,) = [base.parent / str(row[0]) for row in session.rows("SHOW BINARY LOGS")][-1:]
        content = active.read_bytes()
        executed = GtidSet.parse(session.value("SELECT @@GLOBAL.gtid_executed"))
    log = LogFile(active, content)
    assert log.in_use
    assert scan(log).transactions.gtids() == executed
    assert scan(log).cut_at is None


def test_more_transactions_than_were_expected_are_all_found(tmp_path: Path) -> None:
    """Room is made for one in 256 bytes at first."""
    many = 9000
    events = (one for n in range(1, many + 1) for one in (gtid(n), query(b"DO 1")))
    found = scanned(log_file(tmp_path / "log", [*events, rotate()], checked=False).read_bytes())
    assert found.transactions.gno.tolist() == list(range(1, many + 1))
    assert found.transactions.begins.tolist() == sorted(found.transactions.begins.tolist())
    assert found.transactions.gtids().count() == many


def made(tmp_path: Path, *events: bytes, closed: bool = True, checked: bool = True) -> bytes:
    return log_file(
        tmp_path / "made", [*events, *([rotate()] if closed else [])], checked=checked, in_use=not closed
    ).read_bytes()


@pytest.fixture(params=[True, False], ids=["checked", "unchecked"])
def checked(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


ROWS = Made((4,), (0,))
INSERT = ROWS.rows_event(f.WRITE_ROWS, [((b"1111",),)])
SHORT = event(f.QUERY, bytes(10))


@pytest.mark.parametrize(
    ("events", "kind", "said"),
    [
        ([INSERT], UnsupportedEvent, "WRITE_ROWS): an event outside any transaction"),
        ([xid(1)], UnsupportedEvent, "XID): an event outside any transaction"),
        ([event(99, b"")], UnsupportedEvent, "type 99): an event outside any transaction"),
        ([event(f.INCIDENT, b"\1\0")], UnsupportedEvent, "INCIDENT): the server lost changes here"),
        ([gtid(1), query(b"BEGIN"), INSERT, gtid(2)], CorruptEvent, "a transaction without an end"),
        ([gtid(1), gtid(2)], CorruptEvent, "a transaction without an end"),
        ([gtid(1), query(b"XA START X'78'"), query(b"XA END X'78'"), gtid(2)], CorruptEvent, "without an end"),
        ([gtid(1), query(b"BEGIN"), INSERT], TruncatedLog, "GTID): the file ends inside this transaction"),
        ([gtid(1)], TruncatedLog, "GTID): the file ends inside this transaction"),
        ([event(f.GTID, bytes(24))], CorruptEvent, "GTID): the GTID cannot be decoded"),
        ([gtid(0), query(b"DO 1")], CorruptEvent, "GTID): the GTID cannot be decoded"),
        ([gtid(-1), query(b"DO 1")], CorruptEvent, "GTID): the GTID cannot be decoded"),
        ([event(f.GTID_TAGGED, bytes(24)), query(b"DO 1")], CorruptEvent, "GTID_TAGGED): the GTID cannot be decoded"),
        ([gtid(1), SHORT], CorruptEvent, "QUERY): the statement cannot be decoded"),
        ([gtid(1), query(b"DO 1", b"database")[:-10]], CorruptEvent, "QUERY): the statement cannot be decoded"),
        ([rotate(), gtid(1)], CorruptEvent, "the log goes on behind its end"),
        ([event(f.STOP, b""), gtid(1)], CorruptEvent, "the log goes on behind its end"),
    ],
)
def test_what_makes_no_sense_is_said_and_named(
    tmp_path: Path, events: list[bytes], kind: type[BinlogError], said: str, checked: bool
) -> None:
    # What follows a whole transaction is taken for a part of it, and looked at when it is split.
    for before in ([],) if "outside" in said or "lost" in said else ([], transaction(7, [INSERT])):
        content = made(tmp_path, *before, *events, checked=checked)
        with pytest.raises(kind) as refused:
            scanned(content)
        assert said in str(refused.value)
        assert "binlog.000042 at " in str(refused.value)


def test_an_event_that_is_too_short_to_be_one_is_not_read_for_ever(tmp_path: Path, checked: bool) -> None:
    content = bytearray(made(tmp_path, *transaction(1, [INSERT]), checked=checked))
    start = told(scanned(bytes(content)))[0][1]
    for length in (0, 1, f.HEADER_SIZE - 1 + f.CHECKSUM_SIZE * checked):
        content[start + 9 : start + 13] = length.to_bytes(4, "little")
        with pytest.raises(CorruptEvent, match=rf"at {start}, GTID\): the event's length is too small"):
            scanned(bytes(content))
    content[start + 9 : start + 13] = b"\xff" * 4
    with pytest.raises(TruncatedLog, match=rf"at {start}, GTID\): the file ends inside the event"):
        scanned(bytes(content))


def test_what_may_be_ignored_is_ignored_wherever_it_stands(tmp_path: Path, checked: bool) -> None:
    odd = event(99, b"whatever", flags=f.MAY_BE_IGNORED)
    note = event(f.ROWS_QUERY, b"\4note")
    one, two = transaction(1, [odd, INSERT, note]), transaction(2, [INSERT])
    found = scanned(made(tmp_path, odd, note, *one, *two, note, checked=checked))
    assert found.transactions.gno.tolist() == [1, 2]
    assert (found.transactions.table[:, k.T_KIND] & k.PLAIN).all()


def test_an_xa_transaction_is_whole_with_its_prepare_and_not_before(tmp_path: Path) -> None:
    begun = [gtid(2), query(b"XA START X'78',X'',1"), ROWS.map_event(), INSERT, query(b"XA END X'78',X'',1")]
    for prepare, whole in ((event(f.XA_PREPARE, bytes(20)), True), (query(b"XA COMMIT X'78',X'',1 ONE PHASE"), True),
                           (INSERT, False)):  # fmt: skip
        found = scanned(made(tmp_path, *transaction(1, [INSERT]), *begun, prepare, closed=False))
        assert found.transactions.gno.tolist() == [1, 2][: 1 + whole]
        assert (found.cut_at is None) == whole


def test_a_loaded_file_s_transaction_is_whole_when_it_is_committed(tmp_path: Path) -> None:
    body = struct.pack("<IIBHH", 1, 0, 0, 0, 0) + bytes(13) + b"\0LOAD DATA"
    load = [event(f.BEGIN_LOAD_QUERY, bytes(4)), event(f.EXECUTE_LOAD_QUERY, body)]
    open_end = scanned(made(tmp_path, gtid(1), query(b"BEGIN"), *load, closed=False))
    assert (len(open_end.transactions), open_end.cut_at is None) == (0, False)
    assert len(scanned(made(tmp_path, gtid(1), query(b"BEGIN"), *load, xid(1), closed=False)).transactions) == 1
    assert len(scanned(made(tmp_path, gtid(1), *load, closed=False)).transactions) == 1


def test_transactions_without_a_gtid_are_found_and_told_from_others(tmp_path: Path) -> None:
    bare = [query(b"BEGIN"), ROWS.map_event(), INSERT, xid(1), query(b"DO 1")]
    events = [*bare, gtid(0, anonymous=True), *bare[:4], *transaction(5, [INSERT])]
    found = scanned(made(tmp_path, *events)).transactions
    assert found.anonymous.tolist() == [True, True, True, False]
    assert [bool(kind & k.PLAIN) for kind in found.table[:, k.T_KIND]] == [True, False, True, True]
    assert found.gtids().count() == 1
    with pytest.raises(ValueError, match="without a GTID"):
        found.gtid(0)


def test_a_commit_time_is_the_one_of_the_server_where_it_began(tmp_path: Path) -> None:
    here, there = 1_760_000_000_000_001, 1_750_000_000_000_002
    body = gtid(1)[f.HEADER_SIZE : f.HEADER_SIZE + 42]
    replicated = event(f.GTID, body + (here | 1 << 55).to_bytes(7, "little") + there.to_bytes(7, "little") + bytes(4))
    old = event(f.GTID, gtid(2)[f.HEADER_SIZE : f.HEADER_SIZE + 25], timestamp=1_700_000_000)
    found = scanned(made(tmp_path, replicated, query(b"DO 1"), old, query(b"DO 1"))).transactions
    assert found.commit_times.tolist() == [there, 1_700_000_000_000_000]


SOURCES = (
    "00000000-0000-0000-0000-000000000001",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "80000000-0000-0000-0000-000000000000",
)
SETS = st.dictionaries(
    st.sampled_from(SOURCES), st.sets(st.integers(1, 25), min_size=1).map(frozenset), max_size=3
)  # fmt: skip


def _gtids(chosen: dict[str, frozenset[int]]) -> Iterator[Gtid]:
    for source, numbers in chosen.items():
        yield from (Gtid(source, n) for n in sorted(numbers))


@given(SETS, SETS)
def test_which_transactions_are_in_a_set_is_told_one_by_one(
    written: dict[str, frozenset[int]], wanted: dict[str, frozenset[int]]
) -> None:
    events = [e for one in _gtids(written) for e in (gtid(one.number, source=uuid.UUID(one.stream)), query(b"DO 1"))]
    with tempfile.TemporaryDirectory() as folder:
        found = scanned(log_file(Path(folder) / "log", events, checked=False).read_bytes()).transactions
    mine, other = list(_gtids(written)), GtidSet.of(_gtids(wanted))
    assert [found.gtid(n) for n in range(len(found))] == mine
    assert found.among(other).tolist() == [one in set(_gtids(wanted)) for one in mine]
    assert found.gtids() == GtidSet.of(mine)
    assert found.gtids(found.among(other)) == GtidSet.of(one for one in mine if one in set(other))
    assert found.gtids(np.zeros(len(found), dtype=bool)) == GtidSet()
