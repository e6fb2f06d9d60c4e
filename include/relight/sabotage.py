"""The kinds of sabotage that a rehearsal can do to what it has rebuilt and proved, and what was done."""

from __future__ import annotations

from typing import Final, Literal, get_args

from relight.backups.manifest import Value

Sabotage = Literal[
    "drop_row", "change_value", "swap_values", "drop_index", "skip_transaction", "replay_twice", "lose_segment",
    "flip_bit", "leave_replica_behind",
]  # fmt: skip
SABOTAGES: Final[tuple[Sabotage, ...]] = get_args(Sabotage)

CHAIN, STORED_BYTES, REPLICAS = "chain of logs", "stored bytes", "replicas"
"""Checks that are made before and after the data are: see :mod:`relight.checks` for those of the data."""


class Damage(Value):
    """What a sabotage did, and which check has to find it.

    ``on``: the tables (``database.table``), the object of the store, or the server that is not right any more. Only
    what is found there was found because of the sabotage.
    """

    sabotage: Sabotage
    check: str
    on: tuple[str, ...]
    what: str
