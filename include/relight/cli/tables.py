"""How commands show results to people."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from relight.run_files import TableVerdict

_PIPE_WIDTH = 200


def console() -> Console:
    """Standard output. A pipe has no width of its own, and cutting what a script reads helps nobody."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def verdict_table(verdicts: Iterable[TableVerdict]) -> Table:
    """The verdicts as people read them."""
    table = Table("table", "inserted", "deleted", "expected", "counted", "verdict")
    for v in verdicts:
        table.add_row(
            f"{v.database}.{v.table}", f"{v.inserted:,}", f"{v.deleted:,}",
            "unknown" if v.expected is None else f"{v.expected:,}", "none" if v.counted is None else f"{v.counted:,}",
            v.verdict + (f": {v.reason}" if v.reason else ""),
        )  # fmt: skip
    return table
