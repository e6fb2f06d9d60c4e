"""The hot loops over row images, compiled. Plain functions over arrays; nothing else is in this file.

Rows are never decoded: a row image is a null bitmap followed by the values that are not null,
each of a fixed width or behind its length. ``widths`` has one entry per column, n >= 0 for a
fixed number of bytes, -n for a value behind a length of n bytes. Every read is bounded by the
end that is passed in; what does not fit is told by a negative result, never by reading on.

Compiled code is kept beside this file: numba replaces a cache file as a whole, so the worst that
several processes starting at once can do to each other is to compile again.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Longs = NDArray[np.int64]
Hashes = NDArray[np.uint64]

INSERT, UPDATE, DELETE = 0, 1, 2
BROKEN = -1
COLLISION = -2


@njit(cache=True, nogil=True)
def _is_null(data: Bytes, image: int, column: int) -> bool:
    return bool(data[image + column // 8] >> (column % 8) & 1)


@njit(cache=True, nogil=True)
def _value_length(data: Bytes, position: int, width: int) -> int:
    """Bytes of the value at ``position``, the length in front of it not counted."""
    if width >= 0:
        return width
    length = np.int64(0)
    for i in range(-width):
        length |= np.int64(data[position + i]) << (8 * i)
    return length  # type: ignore[return-value]


@njit(cache=True, nogil=True)
def image_end(data: Bytes, position: int, end: int, widths: Longs) -> int:
    """Where the row image at ``position`` ends; BROKEN when it would go beyond ``end``."""
    values = position + (widths.size + 7) // 8
    if values > end:
        return BROKEN
    for column in range(widths.size):
        if _is_null(data, position, column):
            continue
        width = widths[column]
        prefix = max(-width, 0)
        if values + prefix > end:
            return BROKEN
        values += prefix + _value_length(data, values, width)
        if values > end:
            return BROKEN
    return values


@njit(cache=True, nogil=True)
def count_images(data: Bytes, start: int, end: int, widths: Longs) -> int:
    """How many row images lie from ``start`` to ``end``; BROKEN when the last does not end there."""
    count = 0
    position = start
    while position < end:
        position = image_end(data, position, end, widths)
        if position == BROKEN:
            return BROKEN
        count += 1
    return count


@njit(cache=True, nogil=True)
def key_of(data: Bytes, image: int, widths: Longs, is_key: Bytes, into: Hashes) -> None:
    """Hash of the key columns, and two numbers to sort by: of the first and of the second column of the key.

    A column of up to 8 fixed bytes sorts as a number, another by its first bytes.
    """
    mixed = np.uint64(0xCBF29CE484222325)
    into[1] = 0
    into[2] = 0
    found = 0
    values = image + (widths.size + 7) // 8
    for column in range(widths.size):
        if _is_null(data, image, column):
            continue
        width = widths[column]
        length = _value_length(data, values, width)
        values += max(-width, 0)
        if is_key[column]:
            mixed = (mixed ^ np.uint64(length)) * np.uint64(0x9E3779B97F4A7C15)
            for i in range(values, values + length):
                mixed = (mixed ^ np.uint64(data[i])) * np.uint64(0x100000001B3)
                mixed ^= mixed >> np.uint64(29)
            if found < 2:
                into[1 + found] = _sort_number(data, values, length, 0 <= width <= 8)
            found += 1
        values += length
    into[0] = mixed


@njit(cache=True, nogil=True)
def _sort_number(data: Bytes, position: int, length: int, is_number: bool) -> np.uint64:
    number = np.uint64(0)
    for i in range(min(length, 8)):
        byte = np.uint64(data[position + i])
        number |= byte << np.uint64(8 * i if is_number else 56 - 8 * i)
    return number


@njit(cache=True, nogil=True)
def same_key(data: Bytes, one: int, other: int, widths: Longs, is_key: Bytes) -> bool:
    """Whether two row images have the same bytes in every key column. Key columns are never null."""
    bitmap = (widths.size + 7) // 8
    a, b = one + bitmap, other + bitmap
    for column in range(widths.size):
        width = widths[column]
        a_length = b_length = 0
        if not _is_null(data, one, column):
            a_length = _value_length(data, a, width)
            a += max(-width, 0)
        if not _is_null(data, other, column):
            b_length = _value_length(data, b, width)
            b += max(-width, 0)
        if is_key[column] and not _equal(data, a, a_length, b, b_length):
            return False
        a += a_length
        b += b_length
    return True


@njit(cache=True, nogil=True)
def _equal(data: Bytes, a: int, a_length: int, b: int, b_length: int) -> bool:
    if a_length != b_length:
        return False
    for i in range(a_length):  # noqa: SIM110 -- numba compiles loops, not generators
        if data[a + i] != data[b + i]:
            return False
    return True


@njit(cache=True, nogil=True)
def number_in(data: Bytes, image: int, widths: Longs, wanted: int) -> int:
    """The value of a column of fixed width as an unsigned number; 0 when it is null."""
    values = image + (widths.size + 7) // 8
    for column in range(wanted):
        if not _is_null(data, image, column):
            width = widths[column]
            values += max(-width, 0) + _value_length(data, values, width)
    if _is_null(data, image, wanted):
        return 0
    number = np.int64(0)
    for i in range(widths[wanted]):
        number |= np.int64(data[values + i]) << (8 * i)
    return number  # type: ignore[return-value]


@njit(cache=True, nogil=True)
def count_rows(data: Bytes, starts: Longs, ends: Longs, kinds: Longs, widths: Longs) -> int:
    """Rows in a run of rows events, an update being one; BROKEN when one does not fit the table."""
    total = 0
    for event in range(starts.size):
        images = count_images(data, starts[event], ends[event], widths)
        if images == BROKEN or (kinds[event] == UPDATE and images % 2):
            return BROKEN
        total += images // 2 if kinds[event] == UPDATE else images
    return total


@njit(cache=True, nogil=True)
def list_changes(
    data: Bytes,
    starts: Longs,
    ends: Longs,
    kinds: Longs,
    widths: Longs,
    is_key: Bytes,
    befores: Longs,
    afters: Longs,
    keys: Hashes,
) -> int:
    """One entry per changed key, in order: where its before-image and its after-image begin (-1: none), and
    its key's hash and sort numbers. An update that changes the key makes two entries. Gives their number;
    the arrays must have room for two per row, and the events must have been counted."""
    entry = 0
    old_key = np.zeros(3, dtype=np.uint64)
    new_key = np.zeros(3, dtype=np.uint64)
    for event in range(starts.size):
        position, end, kind = starts[event], ends[event], kinds[event]
        while position < end:
            first = position
            position = image_end(data, first, end, widths)
            key_of(data, first, widths, is_key, old_key)
            keys[entry] = old_key
            if kind != UPDATE:
                befores[entry] = first if kind == DELETE else -1
                afters[entry] = first if kind == INSERT else -1
                entry += 1
                continue
            second = position
            position = image_end(data, second, end, widths)
            key_of(data, second, widths, is_key, new_key)
            befores[entry] = first
            if old_key[0] == new_key[0] and same_key(data, first, second, widths, is_key):
                afters[entry] = second
            else:
                afters[entry] = -1
                entry += 1
                befores[entry], afters[entry] = -1, second
                keys[entry] = new_key
            entry += 1
    return entry


@njit(cache=True, nogil=True)
def fold(
    data: Bytes,
    order: Longs,
    befores: Longs,
    afters: Longs,
    keys: Hashes,
    widths: Longs,
    is_key: Bytes,
    net_before: Longs,
    net_after: Longs,
    net_entry: Longs,
) -> int:
    """The net effect per key: first before-image, last after-image. ``order`` sorts entries by hash, and
    equal hashes by time. Gives the number of keys; COLLISION when different keys share a hash."""
    count = 0
    at = 0
    while at < order.size:
        first = order[at]
        image = befores[first] if befores[first] >= 0 else afters[first]
        last = first
        at += 1
        while at < order.size and keys[order[at], 0] == keys[first, 0]:
            last = order[at]
            other = befores[last] if befores[last] >= 0 else afters[last]
            if not same_key(data, image, other, widths, is_key):
                return COLLISION
            # What one change left must be what the next one found, or the log is not a history of this key.
            if (afters[order[at - 1]] >= 0) != (befores[last] >= 0):
                return BROKEN
            at += 1
        net_before[count] = befores[first]
        net_after[count] = afters[last]
        net_entry[count] = first
        count += 1
    return count


@njit(cache=True, nogil=True)
def gather(data: Bytes, starts: Longs, lengths: Longs, into: Bytes) -> None:
    """Copy runs of bytes, one behind the other."""
    position = 0
    for i in range(starts.size):
        for j in range(lengths[i]):
            into[position + j] = data[starts[i] + j]
        position += lengths[i]


@njit(cache=True, nogil=True)
def image_lengths(data: Bytes, starts: Longs, widths: Longs) -> Longs:
    """The length of each row image; 0 where there is none."""
    lengths = np.zeros(starts.size, dtype=np.int64)
    for i in range(starts.size):
        if starts[i] >= 0:
            lengths[i] = image_end(data, starts[i], data.size, widths) - starts[i]
    return lengths


@njit(cache=True, nogil=True)
def same_bytes(data: Bytes, one: Longs, other: Longs, lengths: Longs, other_lengths: Longs) -> Bytes:
    """Per pair of runs, 1 where they are equal."""
    equal = np.zeros(one.size, dtype=np.uint8)
    for i in range(one.size):
        equal[i] = _equal(data, one[i], lengths[i], other[i], other_lengths[i])
    return equal


@njit(cache=True, nogil=True)
def numbers_in(data: Bytes, starts: Longs, widths: Longs, column: int) -> Longs:
    """A column of fixed width as numbers, per row image; -1 where there is no image."""
    numbers = np.full(starts.size, -1, dtype=np.int64)
    for i in range(starts.size):
        if starts[i] >= 0:
            numbers[i] = number_in(data, starts[i], widths, column)
    return numbers
