"""The stream of transactions that the workload sends.

All choices come from one random generator, so the same seed gives the same statements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from relight.lab.changes import KINDS


@dataclass(frozen=True)
class Transaction:
    """Statements to run between BEGIN and COMMIT, the databases they change, and how it ends."""

    statements: tuple[str, ...]
    databases: tuple[str, ...]
    rolled_back: bool = False


class Transactions:
    """An endless stream of transactions over the databases that are named."""

    def __init__(self, random: Random, databases: Sequence[str]) -> None:
        self._random = random
        self._kinds = [(database, kind) for database in databases for kind in KINDS[database]]

    def next(self) -> Transaction:
        """The next transaction: mostly one change, sometimes several over several databases."""
        draw = self._random.random()
        count = 1 if draw < 0.7 else 2 if draw < 0.9 else self._random.randint(3, 6)
        statements: list[str] = []
        databases: list[str] = []
        for number in range(count):
            database, kind = self._random.choice(self._kinds)
            change = kind(self._random)
            if number and self._random.random() < 0.1:
                change = ["SAVEPOINT here", *change, "ROLLBACK TO here"]
            statements += change
            databases.append(database)
        return Transaction(tuple(statements), tuple(sorted(set(databases))), self._random.random() < 0.03)
