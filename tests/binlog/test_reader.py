"""A log is read whole or not at all: every flipped byte and every cut is noticed, and named with its place."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from relight.binlog import format as f
from relight.binlog.reader import Event, open_log, packed_integer
from relight.binlog.transactions import summarize
from relight.errors import BinlogError, CorruptEvent, TruncatedLog, UnsupportedEvent
from relight.server.session import Session
from tests.support.replaying import logs_of, start_log
from tests.support.servers import Servers
from tests.support.slow_log import Transaction, transactions


def write(session: Session) -> None:
    session.run("CREATE TABLE d.t (id INT PRIMARY KEY, v VARCHAR(100))")
    session.run("BEGIN")
    session.run("INSERT INTO d.t VALUES (1, 'one'), (2, 'two')")
    session.run("UPDATE d.t SET v = 'three'")
    session.run("COMMIT")
    session.run("ALTER TABLE d.t ADD COLUMN w INT")
    session.run("INSERT INTO d.t VALUES (3, 'last', 3)")


@pytest.fixture(scope="module")
def logs(module_servers: Servers) -> dict[str, Path]:
    """Two small closed logs, with and without checksums."""
    with module_servers.connect(module_servers.make("writer")) as session:
        session.run("CREATE DATABASE d")
        start_log(session)
        write(session)
        checked = logs_of(session)[-1]
        session.run("DROP TABLE d.t")
        session.run("SET GLOBAL binlog_checksum = NONE")  # which begins a new file
        write(session)
        return {"checked": checked, "unchecked": logs_of(session)[-1]}


@pytest.fixture(params=["checked", "unchecked"])
def log(request: pytest.FixtureRequest, logs: dict[str, Path]) -> Path:
    return logs[request.param]


@pytest.fixture
def checked(logs: dict[str, Path]) -> Path:
    return logs["checked"]


def events_of(path: Path) -> list[Event]:
    with open_log(path) as log:
        return list(log.events())


def transactions_of(path: Path) -> list[Transaction]:
    with open_log(path) as log:
        return list(transactions(log))


def copy_with(content: bytes, folder: Path) -> Path:
    path = folder / "binlog.000042"
    path.write_bytes(content)
    return path


def test_what_the_server_wrote_is_read(log: Path) -> None:
    with open_log(log) as opened:
        assert opened.format.server_version[0].isdigit()
    kinds = [f.type_name(event.type) for event in events_of(log)]
    assert kinds[0] == "PREVIOUS_GTIDS"
    assert kinds[-1] == "ROTATE"
    assert len(transactions_of(log)) == 4


@pytest.mark.parametrize("number", range(20))
def test_a_flipped_byte_in_an_event_names_file_and_position(checked: Path, tmp_path: Path, number: int) -> None:
    events = events_of(checked)
    event = events[number % len(events)]
    content = bytearray(checked.read_bytes())
    content[event.position + f.HEADER_SIZE + len(event.body) // 2] ^= 0x10
    with pytest.raises(
        CorruptEvent, match=rf"binlog.000042 at {event.position}, {f.type_name(event.type)}\): .*checksum"
    ):
        events_of(copy_with(bytes(content), tmp_path))


def test_no_flipped_bit_anywhere_goes_unnoticed(checked: Path, tmp_path: Path) -> None:
    content = checked.read_bytes()
    in_use = len(f.MAGIC) + 17  # a flag that changes while the file is open, and that its checksum leaves out
    unnoticed = []
    for at in range(len(content)):
        bit = 1 << at % 8
        if (at, bit) == (in_use, f.IN_USE):
            continue
        changed = bytearray(content)
        changed[at] ^= bit
        try:
            events_of(copy_with(bytes(changed), tmp_path))
        except BinlogError:
            continue
        unnoticed.append(at)
    assert not unnoticed


def test_a_file_cut_anywhere_is_truncated_unless_it_ends_between_two_transactions(log: Path, tmp_path: Path) -> None:
    content, whole = log.read_bytes(), transactions_of(log)
    ends = {t.position for t in whole} | {events_of(log)[-1].position, len(content)}
    behind = min(ends)
    for size in range(len(content)):
        path = copy_with(content[:size], tmp_path)
        if size in ends:
            found = transactions_of(path)
            assert found == [t for t in whole if t.position < size], f"cut at {size}"
        elif size > behind:
            with pytest.raises(TruncatedLog, match=r"binlog\.000042 at"):
                transactions_of(path)
        else:
            with pytest.raises(BinlogError):
                summarize(path)


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (b"", TruncatedLog, "the file is empty"),
        (b"\xfebi", CorruptEvent, "not a binary log"),
        (b"just a text file\n" * 20, CorruptEvent, "not a binary log"),
        (bytes(1000), CorruptEvent, "not a binary log"),
        (f.MAGIC, TruncatedLog, "holds no event"),
        (f.MAGIC + bytes(200), CorruptEvent, "not a whole format description"),
        (f.ENCRYPTED_MAGIC + bytes(600), UnsupportedEvent, "encrypted"),
    ],
)
def test_what_is_no_readable_log_is_said_to_be_none(
    tmp_path: Path, content: bytes, kind: type[BinlogError], said: str
) -> None:
    with pytest.raises(kind, match=said) as refused:
        events_of(copy_with(content, tmp_path))
    assert "binlog.000042" in str(refused.value)


def test_a_really_encrypted_log_would_be_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedEvent) as refused:
        events_of(copy_with(f.ENCRYPTED_MAGIC + bytes(600), tmp_path))
    assert "binlog_encryption" in refused.value.hint


def test_an_event_that_nobody_understands_stops_the_reading_unless_it_may_be_ignored(
    logs: dict[str, Path], log: Path, tmp_path: Path
) -> None:
    content, first = log.read_bytes(), transactions_of(log)[0]

    def with_event(flags: int) -> Path:
        checksum = log == logs["checked"]
        event = f.HEADER.pack(0, 99, 1, f.HEADER_SIZE + 4 * checksum, 0, flags)
        event += struct.pack("<I", zlib.crc32(event)) * checksum
        return copy_with(content[: first.position] + event + content[first.position :], tmp_path)

    assert len(transactions_of(with_event(f.MAY_BE_IGNORED))) == 4
    with pytest.raises(UnsupportedEvent, match=rf"binlog.000042 at {first.position}, type 99"):
        transactions_of(with_event(0))


def test_the_format_description_that_is_sent_on_says_no_checksums_and_no_start_time(log: Path) -> None:
    with open_log(log) as opened:
        plain = opened.format.plain
    timestamp, kind, _, length, _, flags = f.HEADER.unpack_from(plain)
    assert (timestamp, kind, length, flags) == (0, f.FORMAT_DESCRIPTION, len(plain), 0)
    assert plain[71:75] == bytes(4), "a start time would make the server drop temporary tables"
    assert plain[-5] == f.CHECKSUM_OFF


@pytest.mark.parametrize(
    ("data", "value", "end"),
    [(b"\x00", 0, 1), (b"\xfa", 250, 1), (b"\xfc\xfb\x00", 251, 3), (b"\xfd\x00\x00\x01", 65536, 4),
     (b"\xfe" + b"\xff" * 8, 2**64 - 1, 9)],
)  # fmt: skip
def test_packed_integers_are_read_in_every_width(data: bytes, value: int, end: int) -> None:
    assert packed_integer(data + b"rest", 0) == (value, end)
    if len(data) > 1:
        with pytest.raises(IndexError):
            packed_integer(data[:-1], 0)


@pytest.mark.parametrize("version", ["5.1.73", "5.5.62-log", "5.6.0-m4"])
def test_a_log_of_a_server_before_checksums_says_what_wrote_it(tmp_path: Path, version: str) -> None:
    """It has no room for a checksum, so it is not one that is broken."""
    body = struct.pack("<H", 4) + version.encode().ljust(50, b"\0") + struct.pack("<IB", 1, 19) + bytes(range(27))
    event = (
        f.HEADER.pack(1, f.FORMAT_DESCRIPTION, 1, f.HEADER_SIZE + len(body), 4 + f.HEADER_SIZE + len(body), 0) + body
    )
    (tmp_path / "log").write_bytes(f.MAGIC + event)
    with pytest.raises(UnsupportedEvent, match=f"written by MySQL {version}"), open_log(tmp_path / "log"):
        pass


def test_a_log_of_a_server_before_5_0_says_what_wrote_it(tmp_path: Path) -> None:
    body = struct.pack("<H", 3) + b"4.1.22-log".ljust(50, b"\0") + struct.pack("<I", 1)
    event = f.HEADER.pack(1, 1, 1, f.HEADER_SIZE + len(body), 4 + f.HEADER_SIZE + len(body), 0) + body
    (tmp_path / "log").write_bytes(f.MAGIC + event)
    with pytest.raises(UnsupportedEvent, match=r"written by MySQL 4\.1\.22"), open_log(tmp_path / "log"):
        pass
