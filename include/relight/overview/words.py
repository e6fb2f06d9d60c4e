"""Durations as people say them."""

from __future__ import annotations

_UNITS = (("days", 86400), ("h", 3600), ("min", 60), ("s", 1))


def duration(seconds: float) -> str:
    """``2 h 10 min``: the two largest units, the second one left out where it is zero."""
    left = round(seconds)
    for number, (unit, size) in enumerate(_UNITS):
        if left >= size or size == 1:
            count, left = divmod(left, size)
            first = f"{count} {'day' if unit == 'days' and count == 1 else unit}"
            if size == 1:
                return first
            smaller, step = _UNITS[number + 1]
            return f"{first} {left // step} {smaller}" if left >= step else first
    raise AssertionError("seconds are the smallest unit")
