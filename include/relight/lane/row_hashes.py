"""Hashes of keys, by which rows are told apart without being decoded."""

from __future__ import annotations

import numpy as np

from relight.binlog.inner_loops import kernels as k
from relight.lane.stream import Rows


def row_hashes(rows: Rows, is_key: k.Bytes) -> tuple[k.Longs, k.Longs]:
    """The hash of the key of every row image of events with full images, in order, and the event it is in.

    ``is_key``: per column, whether it belongs to the key; without any, the hash is that of the whole image.
    """
    room = 2 * int(rows.counts.sum()) + 1
    hashes, events = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64)
    widths = np.array(rows.table.map.widths, dtype=np.int64)
    count = k.key_hashes(rows.data, rows.starts, rows.ends, widths, is_key, hashes, events)
    return hashes[: max(count, 0)], events[: max(count, 0)]
