"""What the workload's transactions do: every kind of change to every kind of table of the lab."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

from relight.lab.changes import accounts, media, orders

Kind = Callable[[Random], list[str]]
"""Makes the statements of one change."""

KINDS: Mapping[str, Sequence[Kind]] = {"orders": orders.KINDS, "accounts": accounts.KINDS, "media": media.KINDS}
