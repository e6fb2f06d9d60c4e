"""Feeds damaged logs and events to whatever reads them, in a process of its own.

``python -m tests.support.fuzzing FOLDER SEED COUNT LOG...``: so many damaged inputs, made from the logs. Ends with status 1
and tells of every input that made anything but a clean error or a result. What is being tried stands in FOLDER/current, in case
the process is killed, as it is when one input takes very long.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import struct
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from relight.binlog import format as f
from relight.binlog import kernels as k
from relight.binlog.reader import LogFile
from relight.binlog.transactions import summarize
from relight.errors import BinlogError, CorruptEvent
from relight.lane.net import NetEffect, NetTable, NotProvable
from relight.lane.ordered import in_order
from relight.lane.split_log import split_log
from relight.lane.stream import Rows, StreamReader, chunks
from tests.support.made_events import Made, Row, as_rows, format_description, gtid, placed, query, xid

PATIENCE = 60
"""Seconds of computing that one input may take."""
MEMORY = 8 << 30

WORTHWHILE = frozenset({f.TABLE_MAP, f.QUERY, f.GTID, f.GTID_TAGGED, f.XA_PREPARE, f.TRANSACTION_PAYLOAD}) | f.ROWS
ODD_BYTES = (0, 1, 2, 4, 8, 127, 128, 250, 251, 252, 253, 254, 255)
ALL_TYPES = (*range(45), 99, 255)


def main(folder: Path, seed: int, count: int, logs: Sequence[Path]) -> int:
    """Try so many inputs. Gives the number of those that went wrong."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    refuse_unchecked_bounds()
    sources = [events_of(log) for log in logs]
    wrong = 0
    for number in range(count):
        draw = random.Random(seed * 1_000_003 + number)
        (folder / "current").write_text(f"seed {seed}, number {number}", encoding="utf-8")
        signal.setitimer(signal.ITIMER_PROF, PATIENCE)  # without a handler: what never ends is ended from outside
        try:
            draw.choice([try_log, try_log, try_log, try_events])(draw, sources, folder)
        except (BinlogError, NotProvable):
            continue
        except Exception:  # noqa: BLE001 -- whatever it is, it is what is looked for
            wrong += 1
            print(f"--- seed {seed}, number {number}")
            traceback.print_exc(file=sys.stdout)
    return wrong


def refuse_unchecked_bounds() -> None:
    """Without ``NUMBA_BOUNDSCHECK`` the compiled loops would read on, and nothing would be noticed."""
    try:
        k.crc32(np.zeros(3, dtype=np.uint8), 0, 5)
    except IndexError:
        return
    sys.exit("the bounds of arrays are not checked")


# Damage


def events_of(log: Path) -> list[bytes]:
    """The events of a log, without checksums."""
    opened = LogFile(log, log.read_bytes())
    return [event.data for event in opened.events()]


def damaged(draw: random.Random, events: Sequence[bytes]) -> list[bytes]:
    """With a few changes, most of them in events that are hard to read."""
    changed = list(events)
    for _ in range(draw.choice([1, 1, 2, 4])):
        worth = [n for n, event in enumerate(changed) if len(event) > 4 and event[4] in WORTHWHILE]
        at = draw.choice(worth) if worth and draw.random() < 0.9 else draw.randrange(len(changed))
        if draw.random() < 0.15:
            moved = changed.pop(at)
            for _ in range(draw.choice([0, 1, 2])):
                changed.insert(draw.randrange(len(changed) + 1), moved)
        else:
            changed[at] = damaged_event(draw, changed[at])
        if not changed:
            return list(events)
    return changed


def damaged_event(draw: random.Random, event: bytes) -> bytes:
    """Bytes that are changed, cut out or put in; its header says its new length."""
    changed = bytearray(event)
    start = f.HEADER_SIZE if draw.random() < 0.9 else 0
    # Most of what is read is at the beginning of a body.
    end = len(changed) if draw.random() < 0.5 else min(start + 40, len(changed))
    for _ in range(draw.choice([1, 1, 1, 3])):
        way = draw.randrange(6)
        at = draw.randrange(start, end) if start < end else 0
        if way == 0:
            changed[at] ^= 1 << draw.randrange(8)
        elif way == 1:
            changed[at] = draw.choice(ODD_BYTES)
        elif way == 2:
            changed[at : at + draw.randint(1, 9)] = bytes(draw.choice(ODD_BYTES) for _ in range(draw.randint(0, 9)))
        elif way == 3:
            del changed[at + 1 :]
        elif way == 4:
            changed[4] = draw.choice(ALL_TYPES)
        else:
            changed += bytes(draw.choice(ODD_BYTES) for _ in range(draw.randint(1, 20)))
        changed += bytes(max(f.HEADER_SIZE - len(changed), 0))
        end = min(end, len(changed))
    return bytes(changed)


def whole_log(draw: random.Random, events: Sequence[bytes]) -> bytes:
    """A log file of these events, with checksums that are right, so that the damage is seen by what comes behind them."""
    checked = draw.random() < 0.5
    parts = [f.MAGIC + format_description(checked=checked, in_use=draw.random() < 0.3)]
    position = len(parts[0])
    for event in events:
        one = placed(event, position, checked=checked)
        if draw.random() < 0.002:
            one = (
                one[:9]
                + struct.pack("<I", draw.choice([0, 18, 19, 22, 23, len(one) - 1, len(one) + 1, 2**31, 2**32 - 1]))
                + one[13:]
            )
        parts.append(one)
        position += len(one)
    content = b"".join(parts)
    return content[: draw.randrange(len(parts[0]), len(content))] if draw.random() < 0.05 else content


# What is tried


def try_log(draw: random.Random, sources: Sequence[list[bytes]], folder: Path) -> None:
    """Summarize a damaged log, split it, and apply what came out in every way."""
    path, scratch = folder / "binlog.000042", folder / "split"
    events = draw.choice(sources) if draw.random() < 0.7 else made_log(draw)
    path.write_bytes(whole_log(draw, damaged(draw, events)))
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    for read in (lambda: summarize(path), lambda: apply_split(draw, path, scratch)):
        try:
            read()
        except (BinlogError, NotProvable):
            continue


def apply_split(draw: random.Random, path: Path, scratch: Path) -> None:
    """Everything that a lane does with rows."""
    result = split_log(path, 0, scratch)
    for chunk in chunks([StreamReader(scratch / stream.file) for stream in result.streams]):
        if chunk.rows:
            cleanly(lambda chunk=chunk: sum(len(block) for block in in_order([list(chunk.rows)], frozenset())))
        for rows in chunk.rows:
            if rows.full:
                cleanly(lambda rows=rows: fold(draw, rows))


def cleanly(action: Callable[[], object]) -> None:
    """It may refuse."""
    try:
        action()
    except (CorruptEvent, NotProvable):
        return


def fold(draw: random.Random, rows: Rows) -> None:
    """The net effect of rows, with columns of any kind as the key."""
    columns = len(rows.table.map.widths)
    key = tuple(draw.sample(range(columns), min(columns, draw.choice([0, 1, 2]))))
    automatic = draw.choice([None, draw.randrange(columns)])
    effect = NetEffect(NetTable(columns, key, automatic, draw.random() < 0.5, signed=draw.random() < 0.5), rows.table)
    half = rows.ends.size // 2
    for part in (rows.part(0, half), rows.part(half, rows.ends.size)):
        effect.add(part)
    parts = [part for phase in effect.phases(3, again=draw.random() < 0.5) for part in phase]
    for blocks in parts if key and draw.random() < 0.5 else effect.statements():
        for _ in blocks:
            pass


def try_events(draw: random.Random, sources: Sequence[list[bytes]], folder: Path) -> None:
    """Damaged rows events straight into the loops that take them, also such that are not where they are said to be."""
    made, events, counts = made_rows(draw)
    rows = as_rows(
        made, [damaged_event(draw, e) if draw.random() < 0.5 else e for e in events], counts, before=b"\xee" * 3
    )
    starts, ends = rows.starts.copy(), rows.ends.copy()
    if draw.random() < 0.3:
        array, at = draw.choice([starts, ends]), draw.randrange(starts.size)
        array[at] += draw.choice([-1000, -20, -1, 1, 15, 1000, 2**40])
    widths = np.array(made.widths, dtype=np.int64)
    is_key = np.zeros(len(widths), dtype=np.uint8)
    is_key[list(made.key)] = 1
    keys, where = (np.empty(sum(counts) * 2, dtype=np.int64) for _ in range(2))
    k.key_hashes(rows.data, starts, ends, widths, is_key, keys, where)
    room, size = 2 * sum(counts), sum(len(event) for event in events)
    state = np.zeros(k.S_COLUMNS, dtype=np.int64)
    state[k.S_HIGHEST] = -1
    automatic = draw.choice([-1, *(n for n, width in enumerate(made.widths) if 0 < width <= 8)])
    k.fold(
        rows.data, starts, ends, widths, is_key, automatic, draw.random() < 0.5, np.full(4 * room, -1, dtype=np.int64)[: _power(2 * room)],
        np.empty((room, k.N_COLUMNS), dtype=np.int64), np.empty(2 * size, dtype=np.uint8), np.empty(max(map(len, events)), dtype=np.uint8),
        state,
    )  # fmt: skip
    put(draw, rows.data, starts, ends, len(widths))


def _power(number: int) -> int:
    """The largest power of two that is not larger than twice the number."""
    return 1 << number.bit_length()


def put(draw: random.Random, data: k.Bytes, starts: k.Longs, ends: k.Longs, columns: int) -> None:
    """Put them together as long as that goes on."""
    count = starts.size
    numbers, mergeable = (
        np.ones(count, dtype=np.int64),
        np.array([draw.randrange(2) for _ in range(count)], dtype=np.int64),
    )
    into = np.empty(500 + data.size, dtype=np.uint8)
    state = np.zeros(2, dtype=np.int64)
    while state[0] < count:
        before = int(state[0])
        size = k.put_events(
            data, starts, ends, numbers, mergeable, np.full(count, columns, dtype=np.int64), 500, into, state
        )
        if size < 0:
            return
        if state[0] <= before:
            raise AssertionError("it does not go on")


# What is damaged


def made_rows(draw: random.Random) -> tuple[Made, list[bytes], list[int]]:
    """Rows events of a table that is made up."""
    widths = tuple(draw.choice([0, 1, 4, 8, 9, -1, -2, -3, -4]) for _ in range(draw.randint(1, 12)))
    made = Made(widths, tuple(draw.sample(range(len(widths)), draw.randint(0, min(2, len(widths))))))
    events, counts = [], []
    for _ in range(draw.randint(1, 6)):
        kind = draw.choice(sorted(f.ROWS - {f.PARTIAL_UPDATE_ROWS}))
        images = 2 if kind in f.UPDATES else 1
        rows: list[Row] = [tuple(_image(draw, made) for _ in range(images)) for _ in range(draw.randint(1, 4))]
        present = None if draw.random() < 0.7 else sorted(draw.sample(range(len(widths)), draw.randint(0, len(widths))))
        events.append(made.rows_event(kind, rows, number=7, present=present, extra=draw.choice([b"", b"\1\2\0"])))
        counts.append(len(rows))
    return made, events, counts


def _image(draw: random.Random, made: Made) -> tuple[bytes | None, ...]:
    return tuple(
        None if draw.random() < 0.2 and column not in made.key else bytes(draw.randrange(256) for _ in range(width if width >= 0 else draw.randint(0, 20)))
        for column, width in enumerate(made.widths)
    )  # fmt: skip


def made_log(draw: random.Random) -> list[bytes]:
    """A log of transactions that are made up."""
    found: list[bytes] = []
    for number in range(1, draw.randint(2, 5)):
        made, events, _ = made_rows(draw)
        found += [gtid(number), query(b"BEGIN"), made.map_event(7), *events, xid(number)]
    return found


if __name__ == "__main__":
    failures = main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), [Path(name) for name in sys.argv[4:]])
    print(f"{failures} went wrong")
    sys.stdout.flush()
    os._exit(min(failures, 1))
