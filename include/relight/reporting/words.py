"""Sizes and times as people read them; durations are in :mod:`relight.forecast.words`."""

from __future__ import annotations

from datetime import datetime

_KILO = 1024


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
