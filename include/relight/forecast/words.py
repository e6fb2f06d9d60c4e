"""Durations as people read them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """``3 d 4 h``, ``2 h 5 min``, ``12 min``, ``1 min 40 s``, ``40 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    if minutes >= 10 or (minutes and not rest):
        return f"{minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
