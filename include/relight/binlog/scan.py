"""Checks a whole binary log file and lists its transactions, at memory speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from relight.binlog import format as f
from relight.binlog.gtid_events import moment, read_tagged_gtid, uuid_text
from relight.binlog.inner_loops import kernels as k
from relight.binlog.reader import LogFile
from relight.errors import BinlogError, CorruptEvent, TruncatedLog, UnsupportedEvent
from relight.gtid import Gtid, GtidSet

Mask = NDArray[np.bool_]

_VERIFY = True
NOT_CARRIED = "restore to just before it (--target before:... or position:...), then look at it with mysqlbinlog"
"""What to do about an event that Relight cannot carry."""


def _what() -> dict[int, tuple[type[BinlogError], str]]:
    """What is wrong, by the code of the loop that found it."""
    return {
        k.CUT_HEADER: (TruncatedLog, "the file ends inside an event header"),
        k.CUT_EVENT: (TruncatedLog, "the file ends inside the event"),
        k.BAD_CHECKSUM: (CorruptEvent, "the checksum is wrong"),
        k.BAD_LENGTH: (CorruptEvent, "the event's length is too small"),
        k.OUTSIDE: (UnsupportedEvent, "an event outside any transaction"),
        k.BAD_GTID: (CorruptEvent, "the GTID cannot be decoded"),
        k.BAD_QUERY: (CorruptEvent, "the statement cannot be decoded"),
        k.NO_END: (CorruptEvent, "a transaction without an end"),
        k.BEHIND_END: (CorruptEvent, "the log goes on behind its end"),
    }


@dataclass(frozen=True)
class Transactions:
    """The transactions of one log file, in order: a row of facts about each (``kernels.T_...``).

    ``stream`` says for each which of ``streams`` (UUID, with a tag where it has one) its GTID belongs to; an
    empty one is that of transactions without a GTID.
    """

    table: k.Table
    stream: NDArray[np.int64]
    streams: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.table)

    def gtid(self, number: int) -> Gtid:
        """Of one transaction. :raises ValueError: it has none."""
        name = self.streams[self.stream[number]]
        if not name:
            raise ValueError("a transaction without a GTID")
        return Gtid(name, int(self.table[number, k.T_NUMBER]))

    def committed(self, number: int) -> datetime:
        """When it was committed on the server where it began."""
        return moment(int(self.table[number, k.T_COMMITTED]))

    @property
    def begins(self) -> k.Longs:
        """Where each begins in the file."""
        return self.table[:, k.T_BEGIN]

    @property
    def gno(self) -> k.Longs:
        """The number of each in its stream; 0 where it has no GTID."""
        return self.table[:, k.T_NUMBER]

    @property
    def commit_times(self) -> k.Longs:
        """When each was committed on the server where it began, in microseconds since 1970."""
        return self.table[:, k.T_COMMITTED]

    @property
    def anonymous(self) -> Mask:
        """Which transactions have no GTID."""
        mask: Mask = (self.table[:, k.T_KIND] & k.ANONYMOUS) != 0
        return mask

    def gtids(self, chosen: Mask | None = None) -> GtidSet:
        """The GTIDs of all transactions, or of some."""
        found = {}
        for number, name in enumerate(self.streams):
            mine = self.stream == number if chosen is None else (self.stream == number) & chosen
            values = np.unique(self.table[mine, k.T_NUMBER])
            if name and values.size:
                breaks = np.flatnonzero(np.diff(values) != 1)
                firsts, lasts = values[np.r_[0, breaks + 1]], values[np.r_[breaks, values.size - 1]]
                found[name] = tuple(zip(firsts.tolist(), lasts.tolist(), strict=True))
        return GtidSet(found)

    def among(self, wanted: GtidSet) -> Mask:
        """Which transactions are in a GTID set."""
        chosen = np.zeros(len(self), dtype=bool)
        for number, name in enumerate(self.streams):
            intervals = wanted.streams.get(name)
            if not intervals:
                continue
            mine = np.flatnonzero(self.stream == number)
            values = self.table[mine, k.T_NUMBER]
            firsts, lasts = np.array(intervals, dtype=np.int64).T
            at = np.searchsorted(firsts, values, side="right") - 1
            chosen[mine] = (at >= 0) & (values <= lasts[np.maximum(at, 0)])
        return chosen


@dataclass(frozen=True)
class Scanned:
    """A file that was read to its end. ``cut_at``: where the last, unfinished transaction of a log begins whose
    server crashed while it was writing; None where the file is whole."""

    transactions: Transactions
    cut_at: int | None


def scan(log: LogFile) -> Scanned:
    """Check lengths, checksums and the order of all events.

    A file that its server did not close may end anywhere: what comes after its last whole transaction was
    never committed.

    :raises CorruptEvent: a checksum, a length or the order is wrong. TruncatedLog: a closed file ends early.
        Both name file, position and event type.
    """
    table, code, state = _scan(log.bytes, log.first_event, log.tail)
    cut_at = None
    if code in (k.CUT_HEADER, k.CUT_EVENT, k.CUT_TRANSACTION) and log.in_use:
        cut_at = int(state[3]) if state[3] >= 0 else int(state[1])
    elif code == k.CUT_TRANSACTION:
        event = int(log.bytes[state[1] + 4])
        raise log.error(TruncatedLog, int(state[1]), event, "the file ends inside this transaction")
    elif code != k.OK:
        raise _explained(log, code, state)
    return Scanned(_with_identities(log, log.bytes, log.tail, table), cut_at)


def scan_unpacked(
    log: LogFile, content: NDArray[np.uint8], parts: Sequence[bytes], envelopes: Sequence[int]
) -> Transactions:
    """The transactions of what was unpacked from compressed ones: ``parts``, laid end to end, without checksums.

    Their positions are those in ``content``; ``envelopes`` says where each is in the file.
    """
    table, code, state = _scan(content, 0, 0)
    begins = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    if code == k.OK and np.array_equal(table[:, k.T_BEGIN], begins[:-1]):
        return _with_identities(log, content, 0, table)
    at = int(state[1]) if code != k.OK else int(table[_first_difference(table[:, k.T_BEGIN], begins), k.T_BEGIN])
    where = envelopes[min(int(np.searchsorted(begins, at, side="right")) - 1, len(envelopes) - 1)]
    raise log.error(CorruptEvent, where, f.TRANSACTION_PAYLOAD, "what is compressed in it is not one whole transaction")


def _first_difference(found: k.Longs, wanted: k.Longs) -> int:
    count = min(found.size, wanted.size)
    different = np.flatnonzero(found[:count] != wanted[:count])
    return int(different[0]) if different.size else count - 1


def _scan(content: k.Bytes, start: int, tail: int) -> tuple[k.Table, int, k.Longs]:
    capacity = max(content.size // 256, 1024)
    state = np.array([0, start, -1, -1], dtype=np.int64)
    table = np.empty((capacity, k.T_COLUMNS), dtype=np.int64)
    while (code := k.scan(content, state[1], content.size, tail, _VERIFY, table, state)) == k.FULL:
        table = np.concatenate([table, np.empty_like(table)])
    return table[: state[0]], code, state


def _with_identities(log: LogFile, content: k.Bytes, tail: int, table: k.Table) -> Transactions:
    """Name the streams of the GTIDs; those with a tag are decoded here."""
    kinds = table[:, k.T_KIND]
    names: dict[str, int] = {}
    stream = np.empty(len(table), dtype=np.int64)
    plain = np.flatnonzero((kinds & (k.TAGGED | k.ANONYMOUS)) == 0)
    if plain.size:
        pairs, which = np.unique(table[plain][:, [k.T_STREAM_HIGH, k.T_STREAM_LOW]], axis=0, return_inverse=True)
        numbers = [names.setdefault(uuid_text(high, low), len(names)) for high, low in pairs.tolist()]
        stream[plain] = np.array(numbers, dtype=np.int64)[which.reshape(-1)]
    for at in np.flatnonzero(kinds & k.TAGGED):
        begin = int(table[at, k.T_BEGIN])
        length = int.from_bytes(content[begin + 9 : begin + 13].tobytes(), "little")
        body = memoryview(content[begin + f.HEADER_SIZE : begin + length - tail].tobytes())
        try:
            gtid, micros = read_tagged_gtid(body)
        except (IndexError, ValueError):
            raise log.error(CorruptEvent, begin, f.GTID_TAGGED, "the GTID cannot be decoded") from None
        stream[at] = names.setdefault(gtid.stream, len(names))
        table[at, k.T_NUMBER] = gtid.number
        table[at, k.T_COMMITTED] = micros or table[at, k.T_COMMITTED]
    anonymous = (kinds & k.ANONYMOUS) != 0
    if anonymous.any():
        stream[anonymous] = names.setdefault("", len(names))
    return Transactions(table, stream, tuple(names))


def _explained(log: LogFile, code: int, state: k.Longs) -> BinlogError:
    kind, why = _what()[code]
    position, event = int(state[1]), int(state[2]) if state[2] >= 0 else None
    if event == f.INCIDENT:
        return incident(log, position)
    problem = log.error(kind, position, event, why)
    if kind is UnsupportedEvent:
        problem.hint = NOT_CARRIED
    return problem


def incident(log: LogFile, position: int) -> BinlogError:
    """The server says that it lost events here."""
    problem = log.error(UnsupportedEvent, position, f.INCIDENT, "the server lost changes here and logged that it did")
    problem.hint = "what came after it builds on something that no log holds: restore to just before it"
    return problem
