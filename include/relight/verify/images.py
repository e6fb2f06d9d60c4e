"""The last image of a sample of a table's rows, from the log alone.

Of every key a number is drawn, from its hash and the run's seed; the keys with the smallest numbers are the sample.
So it is known of each row, when it passes, whether it may still be in the sample, and the log is read once, whatever
its length (a bottom-k sketch; Cohen and Kaplan, Summarizing data using bottom-k sketches, 2007).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from relight.binlog.inner_loops import kernels as k
from relight.lane.lane_progress import Position
from relight.lane.row_hashes import row_hashes
from relight.lane.stream import MappedTable, Rows

CONFIDENCE = 0.999
SHARE = 0.001
SAMPLE = math.ceil(math.log(1 - CONFIDENCE) / math.log(1 - SHARE))
"""So many rows per table: should one in a thousand of the rows that the log has touched be wrong, at least one of
them is in the sample with a probability of 99.9 %. A table of which fewer were touched is compared wholly."""
_Numbers = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Image:
    """Where the last image of a row is: the ``index``-th image of a rows event; ``at``: who wrote it."""

    table: MappedTable
    event: bytes
    index: int
    at: Position


@dataclass
class _Sample:
    shape: bytes
    threshold: int = 2**64 - 1
    images: dict[int, Image] = field(default_factory=dict)
    bytes: int = 0


class LastImages:
    """Takes the rows events of tables in the order of the log."""

    def __init__(self, seed: int, most: int = SAMPLE, most_bytes: int = 64 << 20) -> None:
        """``most_bytes``: of one table's sample. Large rows make a smaller one."""
        self.seed = seed
        self._seed = np.uint64(seed & (2**64 - 1))
        self._most = most
        self._most_bytes = most_bytes
        self._samples: dict[str, _Sample] = {}

    def take(self, rows: Rows, key: tuple[int, ...], segment: int) -> None:
        """Add rows with full images. ``key``: the columns of the primary key."""
        name, shape = rows.table.name[1], rows.table.map.shape
        sample = self._samples.get(name)
        if sample is None or sample.shape != shape:
            # Rows that were last written when the table was another one have no image of what it is now.
            sample = self._samples[name] = _Sample(shape)
        is_key = np.zeros(len(rows.table.map.widths), dtype=np.uint8)
        is_key[list(key)] = 1
        hashes, events = row_hashes(rows, is_key)
        numbers = mixed(hashes, self._seed)
        chosen = np.flatnonzero(numbers <= np.uint64(sample.threshold))
        if not chosen.size:
            return
        found, last = np.unique(numbers[chosen][::-1], return_index=True)
        images = chosen[chosen.size - 1 - last]
        copies: dict[int, bytes] = {}
        for number, image in zip(found.tolist(), images.tolist(), strict=True):
            event = int(events[image])
            if event not in copies:
                copies[event] = rows.data[rows.starts[event] : rows.ends[event]].tobytes()
            first = int(np.searchsorted(events, event))
            self._keep(sample, number, Image(
                rows.table, copies[event], image - first, Position(segment, int(rows.transactions[event]))
            ))  # fmt: skip

    def _keep(self, sample: _Sample, number: int, image: Image) -> None:
        if number > sample.threshold:
            return
        before = sample.images.get(number)
        sample.bytes += len(image.event) - (len(before.event) if before else 0)
        sample.images[number] = image
        if len(sample.images) > 2 * self._most:
            self._shrink(sample, self._most)
        elif sample.bytes > self._most_bytes and len(sample.images) > 1:
            self._shrink(sample, len(sample.images) // 2)

    def _shrink(self, sample: _Sample, most: int) -> None:
        kept = sorted(sample.images)[:most]
        sample.images = {number: sample.images[number] for number in kept}
        sample.threshold = kept[-1]
        sample.bytes = sum(len(image.event) for image in sample.images.values())

    def forget(self, table: str) -> None:
        """What was seen of a table does not tell its rows any more."""
        self._samples.pop(table, None)

    def tables(self) -> Iterator[tuple[str, list[Image], int]]:
        """For each table its sample, and how many rows were touched: estimated from the largest number of the sample
        where it is not all of them."""
        for name, sample in sorted(self._samples.items()):
            if len(sample.images) > self._most:
                self._shrink(sample, self._most)
            images = list(sample.images.values())
            touched = (
                len(images) if sample.threshold == 2**64 - 1 else len(images) * 2**64 // (sample.threshold + 1) + 1
            )
            yield name, images, touched


def mixed(hashes: k.Longs, seed: np.uint64) -> _Numbers:
    """A number for each hash that tells nothing of it (the finalizer of splitmix64, Steele et al. 2014)."""
    x = hashes.view(np.uint64) ^ seed
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
