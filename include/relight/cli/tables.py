"""How commands show results to people."""

from __future__ import annotations

import sys

from rich.console import Console

_KILO = 1024
_PIPE_WIDTH = 200


def console() -> Console:
    """Standard output. A pipe has no width of its own, and cutting what a script reads helps nobody."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def size(count: float) -> str:
    """Bytes as people read them: ``1.5 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < _KILO:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _KILO
    return f"{count:.1f} TiB"
