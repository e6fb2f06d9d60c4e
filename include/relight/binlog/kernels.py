"""The hot loops, compiled. Plain functions over arrays; nothing else is in this file.

Five loops carry a replay: :func:`scan` checks a log file and finds its transactions, :func:`walk_rows` finds
the rows events in them and counts their rows, :func:`copy_events` puts them together by table,
:func:`fold` computes the net effect of a table's events, and the ``put_`` functions write what is sent.

Rows are never decoded: a row image is a null bitmap followed by the values that are not null,
each of a fixed width or behind its length. ``widths`` has one entry per column, n >= 0 for a
fixed number of bytes, -n for a value behind a length of n bytes. Every read is bounded by the
end that is passed in; what does not fit is told by a negative result, never by reading on.

Signatures are written out, so that nothing is compiled at an inconvenient moment: importing this module
compiles what was not compiled before (half a minute, done once when the image is built) and loads the rest;
:mod:`relight.binlog.compiled` says from where. numba replaces files of compiled code as a whole and compares what
this file holds; all kernels are in one file because it does not notice changes in others. The worst that several
processes starting at once can do to each other, where nothing is compiled, is to compile the same thing.
"""

from __future__ import annotations

import numpy as np
from numba import boolean, int64, njit, types, uint8, uint32, uint64, void
from numpy.typing import NDArray

from relight.binlog import format as f
from relight.binlog.compiled import compiled

Bytes = NDArray[np.uint8]
Longs = NDArray[np.int64]
Table = NDArray[np.int64]
"""Two dimensions: a row per transaction, event or entry, a column per fact about it."""

_READ = types.Array(uint8, 1, "C", readonly=True)
_WRITE = uint8[::1]
_LONGS = types.Array(int64, 1, "C", readonly=True)
_STATE = int64[::1]
_TABLE = int64[:, ::1]

# What a loop gives: 0 or more is success, below 0 says what is wrong.
OK = 0
FULL = -1
"""The output has no room; call again with more, from where the state says."""
CUT_HEADER = -2
CUT_EVENT = -3
BAD_LENGTH = -4
BAD_CHECKSUM = -5
OUTSIDE = -6
"""An event that belongs to a transaction, but none has begun."""
BAD_GTID = -7
BAD_QUERY = -8
NO_END = -9
"""A transaction that is followed by another before it has ended."""
CUT_TRANSACTION = -10
BEHIND_END = -11
NEW_MAP = -12
"""A table map that was not registered yet."""
NO_MAP = -13
BROKEN = -14
"""A rows event that does not fit its table."""
NOT_A_HISTORY = -15
"""Changes of a key that cannot have followed each other."""

# Columns of scan's output: one row per transaction.
T_BEGIN, T_END, T_STREAM_HIGH, T_STREAM_LOW, T_NUMBER, T_COMMITTED, T_KIND, T_COLUMNS = range(8)
# Bits of T_KIND.
PLAIN, PAYLOAD, TAGGED, ANONYMOUS = 1, 2, 4, 8
"""PLAIN: rows and nothing else. TAGGED: the identity is left to the caller. PAYLOAD: compressed."""

# Columns of walk_rows' output: one row per rows event.
E_START, E_END, E_SLOT, E_TRANSACTION, E_ROWS, E_KIND, E_COLUMNS = range(7)
# Bits of E_KIND.
INSERT, UPDATE, DELETE, FULL_ROWS, CASCADES_LOGGED = 1, 2, 4, 8, 16
"""FULL_ROWS: every image has every column, and nothing unusual comes with it. CASCADES_LOGGED: whatever
foreign keys did because of it is in the log as well."""

INSERT_TYPES = f.INSERTS

# Columns of an entry of fold.
N_HASH, N_KEY, N_KEY_SIZE, N_IMAGE, N_SIZE, N_ROOM, N_STATE, N_SORT, N_SORT_2, N_COLUMNS = range(10)
EXISTED, EXISTS = 1, 2
"""N_STATE of a keyed table: bits. Of a table without a key: how many such rows more there are."""
# fold's state.
S_ENTRIES, S_USED, S_GARBAGE, S_HIGHEST, S_HIGHEST_SIZE, S_HIGHEST_ENTRY, S_AT, S_COLUMNS = range(8)

_G_GTID, _G_TAGGED, _G_ANONYMOUS = f.GTID, f.GTID_TAGGED, f.ANONYMOUS_GTID
_QUERY, _STOP, _ROTATE, _XID, _TABLE_MAP, _PAYLOAD = (
    f.QUERY,
    f.STOP,
    f.ROTATE,
    f.XID,
    f.TABLE_MAP,
    f.TRANSACTION_PAYLOAD,
)
_EXECUTE_LOAD = f.EXECUTE_LOAD_QUERY
_WRITE_V1, _UPDATE_V1, _DELETE_V1 = f.WRITE_ROWS_V1, f.UPDATE_ROWS_V1, f.DELETE_ROWS_V1
_WRITE_2, _UPDATE_2, _DELETE_2, _PARTIAL = f.WRITE_ROWS, f.UPDATE_ROWS, f.DELETE_ROWS, f.PARTIAL_UPDATE_ROWS
_HEADER, _IGNORABLE_FLAG = f.HEADER_SIZE, f.MAY_BE_IGNORED
_STATEMENT_END, _NO_CHECKS, _SQL_KEYS = f.STATEMENT_END, f.NO_FOREIGN_KEY_CHECKS, f.USE_SQL_FOREIGN_KEY
_USUAL_FLAGS = (
    f.STATEMENT_END | f.NO_FOREIGN_KEY_CHECKS | f.USE_SQL_FOREIGN_KEY | f.RELAXED_UNIQUE_CHECKS | f.COMPLETE_ROWS
)
_PARTITION_INFO = f.EXTRA_PARTITION

_MEANINGLESS = np.zeros(256, dtype=np.uint8)
_MEANINGLESS[sorted(f.NOT_ABOUT_DATA)] = 1
_STARTS_BARE = np.zeros(256, dtype=np.uint8)
_STARTS_BARE[[f.QUERY, *sorted(f.STATEMENT_CONTEXT), *sorted(f.LOAD_DATA)]] = 1


def _crc_tables() -> NDArray[np.uint32]:
    tables = np.zeros((8, 256), dtype=np.uint32)
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (0xEDB88320 if value & 1 else 0)
        tables[0, byte] = value
    for number in range(1, 8):
        before = tables[number - 1]
        tables[number] = tables[0][before & 0xFF] ^ (before >> 8)
    return tables


_CRC = _crc_tables().reshape(-1)


@compiled(uint32(_READ, int64, int64))
def crc32(data: Bytes, start: int, end: int) -> int:
    """CRC-32 as zlib computes it, eight bytes at a time (Kounavis and Berry, "slicing-by-8", 2005)."""
    crc = uint32(0xFFFFFFFF)
    p = start
    while p + 8 <= end:
        a = crc ^ (uint32(data[p]) | uint32(data[p + 1]) << 8 | uint32(data[p + 2]) << 16 | uint32(data[p + 3]) << 24)
        crc = (
            _CRC[1792 + (a & 0xFF)] ^ _CRC[1536 + (a >> 8 & 0xFF)]
            ^ _CRC[1280 + (a >> 16 & 0xFF)] ^ _CRC[1024 + (a >> 24)]
            ^ _CRC[768 + data[p + 4]] ^ _CRC[512 + data[p + 5]] ^ _CRC[256 + data[p + 6]] ^ _CRC[data[p + 7]]
        )  # fmt: skip
        p += 8
    while p < end:
        crc = (crc >> 8) ^ _CRC[(crc ^ data[p]) & 0xFF]
        p += 1
    return crc ^ uint32(0xFFFFFFFF)


@njit(nogil=True)
def _number(data, position, size):
    value = int64(0)
    for i in range(size):
        value |= int64(data[position + i]) << (8 * i)
    return value


@njit(nogil=True)
def _same(one, a, other, b, size):
    for i in range(size):
        if one[a + i] != other[b + i]:
            return False
    return True


@njit(nogil=True)
def _is_event(data, start, end):
    """Whether there is room for an event's header."""
    return start >= 0 and start + _HEADER <= end <= data.size


@njit(nogil=True)
def _is_rows(event):
    return _WRITE_V1 <= event <= _DELETE_V1 or _WRITE_2 <= event <= _DELETE_2 or event == _PARTIAL


@njit(nogil=True)
def _query_text(data, body, end):
    """Where the text of a query event begins; BAD_QUERY when that would be behind its end."""
    if body + 13 > end:
        return int64(BAD_QUERY)
    text = body + 13 + int64(data[body + 8]) + _number(data, body + 11, 2) + 1
    return text if text <= end else int64(BAD_QUERY)


@njit(nogil=True)
def _is_text(data, start, end, word):
    if end - start != len(word):
        return False
    for i in range(len(word)):
        if data[start + i] != word[i]:
            return False
    return True


@njit(nogil=True)
def _begins_with(data, start, end, word):
    return end - start >= len(word) and _is_text(data, start, start + len(word), word)


_BEGIN, _COMMIT, _ROLLBACK = (np.frombuffer(word, dtype=np.uint8) for word in (b"BEGIN", b"COMMIT", b"ROLLBACK"))
_XA_START, _XA_COMMIT, _XA_ROLLBACK = (
    np.frombuffer(word, dtype=np.uint8) for word in (b"XA START ", b"XA COMMIT ", b"XA ROLLBACK ")
)


@njit(nogil=True)
def _read_gtid(data, body, end, timestamp, row):
    """Identity and commit time of a GTID event of version 1 (``Gtid_event``)."""
    if end - body < 25:
        return int64(BAD_GTID)
    high = low = int64(0)
    for i in range(8):
        high = high << 8 | int64(data[body + 1 + i])
        low = low << 8 | int64(data[body + 9 + i])
    row[T_STREAM_HIGH], row[T_STREAM_LOW] = high, low
    row[T_NUMBER] = _number(data, body + 17, 8)
    micros = timestamp * 1_000_000  # sources before 8.0.1 tell seconds only
    if end - body >= 49:
        immediate = _number(data, body + 42, 7)
        micros = immediate & ((int64(1) << 55) - 1)
        if immediate >> 55 & 1:  # a transaction that came by replication carries its origin's time too
            if end - body < 56:
                return int64(BAD_GTID)
            micros = _number(data, body + 49, 7) & ((int64(1) << 55) - 1)
    row[T_COMMITTED] = micros
    return int64(OK)


@njit(nogil=True)
def _close(out, count, head, end, plain, kind):
    out[count, T_BEGIN], out[count, T_END] = head, end
    out[count, T_KIND] = kind | (PLAIN if plain else 0)


@compiled(int64(_READ, int64, int64, int64, boolean, _TABLE, _STATE))
def scan(data: Bytes, position: int, size: int, tail: int, verify: bool, out: Table, state: Longs) -> int:
    """Check every event from ``position`` on, and list the transactions.

    :param tail: bytes of checksum behind each event: 4 or 0. ``verify``: whether to check them.
    :param out: a row per transaction, filled from row ``state[0]`` on.
    :param state: receives the number of transactions, the position of what is wrong (or, with FULL, where to go
        on), and the event type found there.
    """
    head = int64(-1)
    begun = complete = bare = False
    plain = True
    kind = int64(0)
    count = state[0]
    smallest = _HEADER + tail
    at_end = False
    while position < size:
        state[0], state[1], state[2] = count, position, -1
        if at_end:
            return BEHIND_END
        if position + _HEADER > size or position + _number(data, position + 9, 4) > size:
            if head >= 0 and complete:
                _close(out, count, head, position, plain and begun, kind)
                state[0] = count + 1
                head = int64(-1)
            state[3] = head
        if position + _HEADER > size:
            return CUT_HEADER
        event = int64(data[position + 4])
        length = _number(data, position + 9, 4)
        flags = _number(data, position + 17, 2)
        state[2] = event
        if length < smallest:
            return BAD_LENGTH
        following = position + length
        if following > size:
            return CUT_EVENT
        end = following - tail
        if verify and tail and int64(crc32(data, position, end)) != _number(data, end, 4):
            return BAD_CHECKSUM
        body = position + _HEADER
        if event in (_G_GTID, _G_TAGGED, _G_ANONYMOUS):
            if head >= 0:
                if not complete:
                    state[1] = head
                    return NO_END
                _close(out, count, head, position, plain and begun, kind)
                count += 1
            if count >= out.shape[0]:
                state[0], state[1] = count, position
                return FULL
            head, begun, complete, plain, bare = position, False, False, True, False
            kind = int64(TAGGED if event == _G_TAGGED else ANONYMOUS if event == _G_ANONYMOUS else 0)
            out[count, T_NUMBER] = 0
            out[count, T_COMMITTED] = _number(data, position, 4) * 1_000_000
            if event != _G_TAGGED:
                found = _read_gtid(data, body, end, _number(data, position, 4), out[count])
                if found != OK:
                    return found
                if event == _G_GTID and out[count, T_NUMBER] <= 0:
                    return BAD_GTID
            position = following
            continue
        if event in (_ROTATE, _STOP):
            at_end = True
            if head >= 0 and complete:
                _close(out, count, head, position, plain and begun, kind)
                count += 1
                head = int64(-1)
            position = following
            continue
        if head < 0:
            if _MEANINGLESS[event] or flags & _IGNORABLE_FLAG:
                position = following
                continue
            if not _STARTS_BARE[event]:
                return OUTSIDE
            # Servers before 5.7 write nothing in front of a transaction that has no GTID.
            if count >= out.shape[0]:
                return FULL
            head, begun, complete, plain, bare = position, False, False, True, True
            kind = int64(ANONYMOUS)
            out[count, T_STREAM_HIGH] = out[count, T_STREAM_LOW] = out[count, T_NUMBER] = 0
            out[count, T_COMMITTED] = _number(data, position, 4) * 1_000_000
        if complete and not _MEANINGLESS[event]:
            plain = False
        if event == _QUERY:
            text = _query_text(data, body, end)
            if text < 0:
                return BAD_QUERY
            if _is_text(data, text, end, _BEGIN):
                plain = plain and not begun
                begun = True
            elif _is_text(data, text, end, _COMMIT):
                complete = True
            else:
                plain = False
                if not begun and _begins_with(data, text, end, _XA_START):
                    begun = True
                elif (
                    not begun or _is_text(data, text, end, _ROLLBACK)
                    or _begins_with(data, text, end, _XA_COMMIT) or _begins_with(data, text, end, _XA_ROLLBACK)
                ):  # fmt: skip
                    complete = True
        elif event == _XID:
            complete = True
        elif event == _PAYLOAD:
            kind |= PAYLOAD
            plain, complete = False, True
        elif event == _TABLE_MAP or _is_rows(event):
            plain = plain and begun
        elif not (_MEANINGLESS[event] or flags & _IGNORABLE_FLAG):
            # Whoever looks at the transaction more closely decides; only statement context does not end one.
            plain = False
            complete = complete or not _STARTS_BARE[event] or (event == _EXECUTE_LOAD and not begun)
        position = following
        if bare and complete:
            _close(out, count, head, position, plain and begun, kind)
            count += 1
            head = int64(-1)
    state[0], state[1] = count, position
    if head >= 0:
        if not complete:
            state[1] = state[3] = head
            return CUT_TRANSACTION
        _close(out, count, head, position, plain and begun, kind)
        count += 1
        state[0] = count
    return OK


@njit(nogil=True)
def _is_null(data, image, column):
    return data[image + (column >> 3)] >> (column & 7) & 1


@njit(nogil=True)
def _full_image_end(data, image, end, widths):
    """Where a row image with every column ends; BROKEN when that would be behind ``end``."""
    columns = widths.size
    p = image + (columns + 7) // 8
    if p > end:
        return int64(BROKEN)
    for column in range(columns):
        if _is_null(data, image, column):
            continue
        width = widths[column]
        if width < 0:
            if p - width > end:
                return int64(BROKEN)
            p += _number(data, p, -width) - width
        else:
            p += width
        if p > end:
            return int64(BROKEN)
    return p


@njit(nogil=True)
def _image_end(data, image, end, widths, present):
    """The same for an image with the columns that the bitmap at ``present`` has."""
    columns = int64(0)
    for column in range(widths.size):
        columns += _is_null(data, present, column)
    p = image + (columns + 7) // 8
    if p > end:
        return int64(BROKEN)
    bit = int64(0)
    for column in range(widths.size):
        if not _is_null(data, present, column):
            continue
        null = _is_null(data, image, bit)
        bit += 1
        if null:
            continue
        width = widths[column]
        if width < 0:
            if p - width > end:
                return int64(BROKEN)
            p += _number(data, p, -width) - width
        else:
            p += width
        if p > end:
            return int64(BROKEN)
    return p


@njit(nogil=True)
def _packed(data, position, end):
    """A length-encoded number, and the position behind it; a negative position when it is cut."""
    if position >= end:
        return int64(0), int64(BROKEN)
    first = int64(data[position])
    if first < 251:
        return first, position + 1
    width = 2 if first == 252 else 3 if first == 253 else 8 if first == 254 else 0
    if width == 0 or position + 1 + width > end:
        return int64(0), int64(BROKEN)
    return _number(data, position + 1, width), position + 1 + width


@njit(nogil=True)
def _rows_head(data, event, body, end, columns):
    """Of a rows event: its kind, where its column bitmaps begin and where its rows begin (BROKEN: it does not fit)."""
    kind = int64(0)
    if event in (_WRITE_V1, _WRITE_2):
        kind = int64(INSERT)
    elif event in (_DELETE_V1, _DELETE_2):
        kind = int64(DELETE)
    else:
        kind = int64(UPDATE)
    if body + 8 > end:
        return kind, int64(0), int64(BROKEN)
    flags = _number(data, body + 6, 2)
    usual = (flags & ~_USUAL_FLAGS) == 0 and event != _PARTIAL
    if flags & (_SQL_KEYS | _NO_CHECKS):
        kind |= CASCADES_LOGGED
    p = body + 8
    if event >= _WRITE_2:
        if p + 2 > end:
            return kind, int64(0), int64(BROKEN)
        extra = _number(data, p, 2)
        if extra < 2 or p + extra > end:
            return kind, int64(0), int64(BROKEN)
        # Which partition a row lies in follows from the row.
        usual = usual and (extra == 2 or data[p + 2] == _PARTITION_INFO)
        p += extra
    found, p = _packed(data, p, end)
    if p < 0 or found != columns or columns == 0:
        return kind, int64(0), int64(BROKEN)
    bitmaps = p
    size = (columns + 7) // 8
    images = 2 if kind & UPDATE else 1
    p += size * images
    if p > end:
        return kind, int64(0), int64(BROKEN)
    for image in range(images):
        for column in range(columns):
            usual = usual and _is_null(data, bitmaps + image * size, column) != 0
    if usual:
        kind |= FULL_ROWS
    return kind, bitmaps, p


@njit(nogil=True)
def _count_rows(data, kind, bitmaps, rows, end, widths):
    """How many rows an event holds, an update being one; BROKEN when they do not fit."""
    size = (widths.size + 7) // 8
    count = int64(0)
    p = rows
    if p == end and kind & INSERT:
        # A row of default values only has no column in a minimal image. The server gives each an event.
        for column in range(widths.size):
            if _is_null(data, bitmaps, column):
                return count
        return int64(1)
    while p < end:
        image = p
        if kind & FULL_ROWS:
            p = _full_image_end(data, p, end, widths)
            if p >= 0 and kind & UPDATE:
                p = _full_image_end(data, p, end, widths)
        else:
            p = _image_end(data, p, end, widths, bitmaps)
            if p >= 0 and kind & UPDATE:
                p = _image_end(data, p, end, widths, bitmaps + size)
        if p <= image:  # does not fit, or has no end
            return int64(BROKEN)
        count += 1
    return count


@njit(nogil=True)
def _find_id(ids, wanted):
    """Where a table id is in the hash table, or where it would be put."""
    mask = ids.size - 1
    at = (wanted * 0x9E3779B1) & mask
    while ids[at] >= 0 and ids[at] != wanted:
        at = (at + 1) & mask
    return at


@compiled(int64(_READ, _TABLE, int64, int64, int64, _STATE, _STATE, _STATE, _READ, _TABLE, _LONGS, _TABLE, _STATE))
def walk_rows(
    data: Bytes,
    transactions: Table,
    first: int,
    last: int,
    tail: int,
    ids: Longs,
    variants: Longs,
    mapped: Longs,
    maps: Bytes,
    known: Table,
    widths: Longs,
    out: Table,
    state: Longs,
) -> int:
    """List the rows events of plain transactions ``first`` to before ``last``, and count their rows.

    :param transactions: as :func:`scan` gave them, with the number of each in column T_NUMBER replaced by the
        caller's own, which is put into the output.
    :param ids, variants, mapped: a hash table from table ids to table maps: which of ``known`` it is, and the
        transaction that mapped it last.
    :param known: a row per registered table map: where its bytes (behind id and flags, which differ between
        statements) begin and end in ``maps``, its slot, and where its column widths begin and end in ``widths``.
    :param state: the number of events, the transaction and the position to go on with (0: its beginning);
        receives those that were reached.
    """
    count = state[0]
    for at in range(first, last):
        number = transactions[at, T_NUMBER]
        position, stop = transactions[at, T_BEGIN], transactions[at, T_END]
        if at == first and state[2] > position:
            position = state[2]
        while position < stop:
            event = int64(data[position + 4])
            following = position + _number(data, position + 9, 4)
            end = following - tail
            body = position + _HEADER
            if event == _TABLE_MAP:
                state[0], state[1], state[2] = count, at, position
                if body + 8 > end:
                    return BROKEN
                spot = _find_id(ids, _number(data, body, 6))
                if ids[spot] < 0:
                    return NEW_MAP
                variant = variants[spot]
                start, finish = known[variant, 0], known[variant, 1]
                if finish - start != end - body - 8 or not _same(maps, start, data, body + 8, finish - start):
                    return NEW_MAP
                mapped[spot] = number
            elif _is_rows(event):
                state[0], state[1], state[2] = count, at, position
                if body + 8 > end:
                    return BROKEN
                spot = _find_id(ids, _number(data, body, 6))
                if ids[spot] < 0 or mapped[spot] != number:
                    return NO_MAP
                if count >= out.shape[0]:
                    return FULL
                variant = variants[spot]
                its_widths = widths[known[variant, 3] : known[variant, 4]]
                kind, bitmaps, rows = _rows_head(data, event, body, end, its_widths.size)
                if rows < 0:
                    return BROKEN
                # The rows of a partial update cannot be walked like others; nobody needs their number.
                found = int64(0)
                if event != _PARTIAL:
                    found = _count_rows(data, kind, bitmaps, rows, end, its_widths)
                    if found < 0:
                        return BROKEN
                out[count, E_START], out[count, E_END] = position, end
                out[count, E_SLOT], out[count, E_TRANSACTION] = known[variant, 2], number
                out[count, E_ROWS], out[count, E_KIND] = found, kind
                count += 1
            position = following
    state[0], state[1], state[2] = count, last, 0
    return OK


@compiled(void(_READ, _LONGS, _LONGS, _WRITE))
def copy_runs(data: Bytes, starts: Longs, ends: Longs, into: Bytes) -> None:
    """Copy runs of bytes, one behind the other."""
    at = 0
    for i in range(starts.size):
        size = ends[i] - starts[i]
        into[at : at + size] = data[starts[i] : ends[i]]
        at += size


@compiled(void(_READ, _LONGS, _LONGS, _WRITE))
def copy_events(data: Bytes, starts: Longs, ends: Longs, into: Bytes) -> None:
    """Copy rows events, one behind the other. Those of version 1, which new servers do not take in a ``BINLOG``
    statement, become events of version 2: two bytes more, that say that there is no extra information."""
    at = 0
    for i in range(starts.size):
        start, end = starts[i], ends[i]
        event = int64(data[start + 4])
        if event <= _DELETE_V1:
            head = _HEADER + 8
            into[at : at + head] = data[start : start + head]
            into[at + 4] = uint8(event - _WRITE_V1 + _WRITE_2)
            into[at + head], into[at + head + 1] = uint8(2), uint8(0)
            at += head + 2
            start += head
        into[at : at + end - start] = data[start:end]
        at += end - start


@njit(nogil=True)
def _hash(data, start, size):
    mixed = uint64(0xCBF29CE484222325)
    i = 0
    while i + 8 <= size:
        mixed = (mixed ^ uint64(_number(data, start + i, 8))) * uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> uint64(29)
        i += 8
    if i < size:
        mixed = (mixed ^ uint64(_number(data, start + i, size - i))) * uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> uint64(29)
    mixed = (mixed ^ uint64(size)) * uint64(0xBF58476D1CE4E5B9)
    return int64(mixed ^ (mixed >> uint64(32)))


@njit(nogil=True)
def _find_entry(slots, entries, arena, hashed, data, key, size):
    """The spot of a key in the hash table; the spot is empty (-1) when the key is new."""
    mask = slots.size - 1
    at = hashed & mask
    while slots[at] >= 0:
        entry = slots[at]
        if (
            entries[entry, N_HASH] == hashed and entries[entry, N_KEY_SIZE] == size
            and _same(arena, entries[entry, N_KEY], data, key, size)
        ):  # fmt: skip
            return at
        at = (at + 1) & mask
    return at


@njit(nogil=True)
def _copy_key(data, image, widths, is_key, last, arena, at, sort):
    """Copy the values of the key columns into the arena, in the order of the table's columns, lengths included.

    Key columns are never null. ``sort`` receives numbers that order rows roughly as the table's index does.
    Gives the number of bytes.
    """
    p = image + (widths.size + 7) // 8
    size = int64(0)
    parts = 0
    sort[0] = sort[1] = 0
    for column in range(last + 1):
        if _is_null(data, image, column):
            continue
        width = widths[column]
        prefix = int64(0)
        length = width
        if width < 0:
            prefix = -width
            length = _number(data, p, prefix)
        if is_key[column]:
            arena[at + size : at + size + prefix + length] = data[p : p + prefix + length]
            size += prefix + length
            if parts < 2:
                sort[parts] = _sort_number(data, p + prefix, length, 0 <= width <= 8)
                parts += 1
        p += prefix + length
    return size


@njit(nogil=True)
def _sort_number(data, position, length, is_number):
    number = uint64(0)
    for i in range(min(length, 8)):
        number |= uint64(data[position + i]) << uint64(8 * i if is_number else 56 - 8 * i)
    return int64(number ^ uint64(0 if is_number else 0x8000000000000000))


@njit(nogil=True)
def _column_number(data, image, widths, wanted, signed):
    """The value of a column of fixed width as a number; less than 0 when it is null or does not fit."""
    p = image + (widths.size + 7) // 8
    if _is_null(data, image, wanted):
        return int64(-1)
    for column in range(wanted):
        if not _is_null(data, image, column):
            width = widths[column]
            p += width if width >= 0 else _number(data, p, -width) - width
    size = min(widths[wanted], 8)
    value = _number(data, p, size)
    if signed and 0 < size < 8 and value >> (8 * size - 1):
        value -= int64(1) << (8 * size)
    return value


@njit(nogil=True)
def _keep_image(data, image, end, entries, entry, arena, state):
    """Make the image the entry's, in place of the one it has where there is room."""
    size = end - image
    if size > entries[entry, N_ROOM]:
        state[S_GARBAGE] += entries[entry, N_ROOM]
        entries[entry, N_IMAGE] = state[S_USED]
        entries[entry, N_ROOM] = size
        state[S_USED] += size
    start = entries[entry, N_IMAGE]
    arena[start : start + size] = data[image:end]
    entries[entry, N_SIZE] = size


@njit(nogil=True)
def _new_entry(slots, spot, entries, state, hashed, size, sort):
    """An entry whose key has just been copied to the end of the arena."""
    entry = state[S_ENTRIES]
    state[S_ENTRIES] += 1
    slots[spot] = entry
    entries[entry, N_HASH] = hashed
    entries[entry, N_KEY], entries[entry, N_KEY_SIZE] = state[S_USED], size
    entries[entry, N_IMAGE] = entries[entry, N_SIZE] = entries[entry, N_ROOM] = entries[entry, N_STATE] = 0
    entries[entry, N_SORT], entries[entry, N_SORT_2] = sort[0], sort[1]
    state[S_USED] += size
    return entry


@njit(nogil=True)
def _change(slots, entries, arena, state, data, image, end, widths, is_key, last, kind, sort):
    """Let one image take effect on its key; gives the key's entry. An UPDATE here leaves the key as it was."""
    size = _copy_key(data, image, widths, is_key, last, arena, state[S_USED], sort)
    hashed = _hash(arena, state[S_USED], size)
    spot = _find_entry(slots, entries, arena, hashed, arena, state[S_USED], size)
    entry = int64(slots[spot])
    if entry < 0:
        entry = _new_entry(slots, spot, entries, state, hashed, size, sort)
        entries[entry, N_STATE] = 0 if kind == INSERT else EXISTED
    elif ((entries[entry, N_STATE] & EXISTS) != 0) == (kind == INSERT):
        return int64(NOT_A_HISTORY)
    if kind == DELETE:
        entries[entry, N_STATE] &= ~EXISTS
    else:
        entries[entry, N_STATE] |= EXISTS
        _keep_image(data, image, end, entries, entry, arena, state)
    return entry


@njit(nogil=True)
def _count_image(slots, entries, arena, state, data, image, end, by, sort):
    """In a table without a key: so many more rows that look like this one."""
    size = end - image
    hashed = _hash(data, image, size)
    spot = _find_entry(slots, entries, arena, hashed, data, image, size)
    entry = int64(slots[spot])
    if entry < 0:
        sort[0], sort[1] = hashed, 0
        entry = _new_entry(slots, spot, entries, state, hashed, size, sort)
        start = entries[entry, N_KEY]
        arena[start : start + size] = data[image:end]
        entries[entry, N_IMAGE], entries[entry, N_SIZE] = start, size
    entries[entry, N_STATE] += by
    return entry


@njit(nogil=True)
def _note_highest(data, image, end, widths, column, signed, entry, highest, state):
    """Remember the row with the highest automatic value, which may be gone again at the end."""
    value = _column_number(data, image, widths, column, signed)
    if value > state[S_HIGHEST]:
        state[S_HIGHEST], state[S_HIGHEST_ENTRY] = value, entry
        state[S_HIGHEST_SIZE] = end - image
        highest[: end - image] = data[image:end]


@compiled(int64(_READ, _LONGS, _LONGS, _LONGS, _READ, int64, boolean, _STATE, _TABLE, _WRITE, _WRITE, _STATE))
def fold(
    data: Bytes,
    starts: Longs,
    ends: Longs,
    widths: Longs,
    is_key: Bytes,
    automatic: int,
    signed: bool,
    slots: Longs,
    entries: Table,
    arena: Bytes,
    highest: Bytes,
    state: Longs,
) -> int:
    """Let rows events with full images take effect on the net effect of their table, in order.

    Entries, arena and ``highest`` must have room for all of it: two entries and twice its bytes per image.
    ``slots`` is a hash table, twice as large as there can be entries.

    :param is_key: which columns are the primary key's; none: equal rows are counted.
    :param automatic: the auto-increment column, or -1. ``signed``: whether its values may be negative.
    :returns: OK, BROKEN or NOT_A_HISTORY; ``state[S_AT]`` is the event that was reached.
    """
    last = int64(-1)
    for column in range(widths.size):
        if is_key[column]:
            last = column
    sort = np.zeros(2, dtype=np.int64)
    room = min(entries.shape[0], slots.size // 2)
    for at in range(starts.size):
        state[S_AT] = at
        position, end = starts[at], ends[at]
        if not _is_event(data, position, end):
            return BROKEN
        kind, _, p = _rows_head(data, int64(data[position + 4]), position + _HEADER, end, widths.size)
        if p < 0 or not kind & FULL_ROWS:
            return BROKEN
        kind &= INSERT | UPDATE | DELETE
        while p < end:
            image = p
            p = _full_image_end(data, image, end, widths)
            if p < 0:
                return BROKEN
            after = image
            if kind == UPDATE:
                after = p
                p = _full_image_end(data, after, end, widths)
                if p < 0:
                    return BROKEN
            if state[S_ENTRIES] + 2 > room or state[S_USED] + 2 * (p - image) > arena.size:
                return BROKEN  # more rows than there were said to be
            if automatic >= 0 and p - after > highest.size:
                return BROKEN
            found = int64(OK)
            if last < 0:
                if kind != INSERT:
                    _count_image(slots, entries, arena, state, data, image, after if kind == UPDATE else p, -1, sort)
                if kind != DELETE:
                    found = _count_image(slots, entries, arena, state, data, after, p, 1, sort)
            elif kind == UPDATE:
                used = state[S_USED]
                size = _copy_key(data, image, widths, is_key, last, arena, used, sort)
                other = _copy_key(data, after, widths, is_key, last, arena, used + size, sort)
                if size == other and _same(arena, used, arena, used + size, size):
                    found = _change(slots, entries, arena, state, data, after, p, widths, is_key, last, UPDATE, sort)
                else:
                    found = _change(
                        slots, entries, arena, state, data, image, after, widths, is_key, last, DELETE, sort
                    )
                    if found >= 0:
                        found = _change(
                            slots, entries, arena, state, data, after, p, widths, is_key, last, INSERT, sort
                        )
            else:
                found = _change(slots, entries, arena, state, data, image, p, widths, is_key, last, kind, sort)
            if found < 0:
                return found
            if automatic >= 0 and kind != DELETE:
                _note_highest(data, after, p, widths, automatic, signed, found, highest, state)
    return OK


@compiled(void(_TABLE, _STATE, _READ, _WRITE))
def compact(entries: Table, state: Longs, arena: Bytes, into: Bytes) -> None:
    """Copy keys and images to a new arena without what lies unused between them."""
    used = int64(0)
    for entry in range(state[S_ENTRIES]):
        key, size = entries[entry, N_KEY], entries[entry, N_KEY_SIZE]
        into[used : used + size] = arena[key : key + size]
        shared = entries[entry, N_IMAGE] == key
        entries[entry, N_KEY] = used
        if shared:
            entries[entry, N_IMAGE] = used
        used += size
        if shared:
            continue
        image, size = entries[entry, N_IMAGE], entries[entry, N_SIZE]
        if not entries[entry, N_STATE] & EXISTS:
            size = 0
        into[used : used + size] = arena[image : image + size]
        entries[entry, N_IMAGE], entries[entry, N_SIZE], entries[entry, N_ROOM] = used, size, size
        used += size
    state[S_USED], state[S_GARBAGE] = used, 0


@compiled(void(_TABLE, _STATE, int64))
def rehash(entries: Table, slots: Longs, count: int) -> None:
    """Fill a new, empty hash table."""
    mask = slots.size - 1
    for entry in range(count):
        at = entries[entry, N_HASH] & mask
        while slots[at] >= 0:
            at = (at + 1) & mask
        slots[at] = entry


@compiled(int64(_READ, _LONGS, _LONGS, int64, boolean))
def highest_kept(arena: Bytes, images: Longs, widths: Longs, column: int, signed: bool) -> int:
    """The highest value that a column of fixed width has in the images; -1: none."""
    highest = int64(-1)
    for i in range(images.size):
        highest = max(highest, _column_number(arena, images[i], widths, column, signed))
    return highest


@compiled(int64(_READ, _TABLE, _LONGS, int64, boolean, boolean, _WRITE))
def put_rows(arena: Bytes, entries: Table, chosen: Longs, nulls: int, key: bool, image: bool, into: Bytes) -> int:
    """Write the rows of an event: of every chosen entry its key, behind ``nulls`` bytes of null bitmap, or its
    image, or both. Gives the number of bytes."""
    at = int64(0)
    for i in range(chosen.size):
        entry = chosen[i]
        if key:
            for _ in range(nulls):
                into[at] = 0
                at += 1
            start, size = entries[entry, N_KEY], entries[entry, N_KEY_SIZE]
            into[at : at + size] = arena[start : start + size]
            at += size
        if image:
            start, size = entries[entry, N_IMAGE], entries[entry, N_SIZE]
            into[at : at + size] = arena[start : start + size]
            at += size
    return at


@compiled(int64(_READ, _LONGS, _LONGS, _LONGS, _LONGS, _LONGS, int64, _WRITE, _STATE))
def put_events(
    data: Bytes, starts: Longs, ends: Longs, numbers: Longs, mergeable: Longs, columns: Longs, limit: int, into: Bytes,
    state: Longs,
) -> int:  # fmt: skip
    """Write rows events as they are, under the table ids ``numbers``, for one ``BINLOG`` statement.

    Neighbours of one kind and table become one event where ``mergeable`` allows it. Stops before the event that
    would make it more than ``limit`` bytes, and where the flags change, which hold for the whole statement.

    :param state: the event to begin with; receives the one to go on with.
    :returns: the number of bytes; BROKEN when an event is malformed: the one that the state then says.
    """
    at = int64(0)
    last = int64(-1)
    flags = int64(-1)
    i = state[0]
    while i < starts.size:
        start, end = starts[i], ends[i]
        if not _is_event(data, start, end):
            state[0] = i
            return BROKEN
        _, _, rows = _rows_head(data, int64(data[start + 4]), start + _HEADER, end, columns[i])
        if rows < 0:
            state[0] = i
            return BROKEN
        its_flags = _number(data, start + _HEADER + 6, 2) & ~_STATEMENT_END
        if its_flags & _SQL_KEYS:
            # Its source has checked the keys, and logged what cascades did, ahead of their cause. To check again
            # would refuse a parent key that changes in case only (1451), as the server's own replicas do.
            its_flags |= _NO_CHECKS
        if at and (its_flags != flags or at + end - start > limit):
            break
        flags = its_flags
        joins = False
        # A row without any column takes no bytes: two of them in one event would be one.
        if last >= 0 and rows < end and mergeable[i] and numbers[i] == numbers[i - 1] and rows - start == state[1]:
            joins = into[last + 4] == data[start + 4] and _same(
                into, last + _HEADER + 8, data, start + _HEADER + 8, rows - start - _HEADER - 8
            )
        if joins:
            into[at : at + end - rows] = data[rows:end]
            at += end - rows
        else:
            last = at
            state[1] = rows - start
            into[at : at + end - start] = data[start:end]
            for byte in range(6):
                into[at + _HEADER + byte] = uint8(numbers[i] >> (8 * byte) & 0xFF)
            at += end - start
        # The length in the header still counts the checksum that was cut off.
        for byte in range(4):
            into[last + 9 + byte] = uint8((at - last) >> (8 * byte) & 0xFF)
        into[last + _HEADER + 6], into[last + _HEADER + 7] = uint8(flags & 0xFF), uint8(flags >> 8)
        i += 1
    if last >= 0:
        into[last + _HEADER + 6] |= uint8(_STATEMENT_END)
    state[0] = i
    return at


@compiled(int64(_READ, _LONGS, _LONGS, _LONGS, _READ, _STATE, _STATE))
def key_hashes(
    data: Bytes, starts: Longs, ends: Longs, widths: Longs, is_key: Bytes, hashes: Longs, events: Longs
) -> int:
    """The hash of the key of every image of rows events with full images, and the event it is in. With no key
    column, the hash of the whole image. Gives their number; FULL when there is no room; BROKEN."""
    last = int64(-1)
    for column in range(widths.size):
        if is_key[column]:
            last = column
    sort = np.zeros(2, dtype=np.int64)
    count = int64(0)
    for at in range(starts.size):
        position, end = starts[at], ends[at]
        if not _is_event(data, position, end):
            return BROKEN
        kind, _, p = _rows_head(data, int64(data[position + 4]), position + _HEADER, end, widths.size)
        if p < 0 or not kind & FULL_ROWS:
            return BROKEN
        while p < end:
            image = p
            p = _full_image_end(data, image, end, widths)
            if p < 0:
                return BROKEN
            if count >= hashes.size:
                return FULL
            if last < 0:
                hashes[count] = _hash(data, image, p - image)
            else:
                scratch = np.empty(p - image, dtype=np.uint8)
                size = _copy_key(data, image, widths, is_key, last, scratch, 0, sort)
                hashes[count] = _hash(scratch, 0, size)
            events[count] = at
            count += 1
    return count
