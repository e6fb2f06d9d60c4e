"""Durations, ages and sizes as people read them."""

from __future__ import annotations

from datetime import datetime

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_KILO = 1024


def duration(seconds: float) -> str:
    """``8 s``, ``4 min``, ``2 h 05 min``, ``3 days``: as exact as it is of use."""
    seconds = max(seconds, 0.0)
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < 2 * _DAY:
        minutes = round(seconds / _MINUTE)
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{seconds / _DAY:.0f} days"


def size(count: float) -> str:
    """Bytes: ``1.5 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < _KILO:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _KILO
    return f"{count:.1f} TiB"


def moment(time: datetime) -> str:
    """``2026-11-22 19:02:11 UTC``."""
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
