"""The changes of definitions (DDL) that the workload makes now and then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Literal

Statements = list[tuple[Literal["application", "admin"], str]]


class Definitions:
    """An endless stream of statements, each with who runs it. What was made is removed again later."""

    def __init__(self, random: Random, databases: Sequence[str]) -> None:
        self._random = random
        self._number = 0
        self._undo: list[Statements] = []
        every: dict[str, list[Callable[[int], tuple[Statements, Statements]]]] = {
            "orders": [_column, _column_without_key, _new_table, _truncate, _account, _view],
            "accounts": [_index, _wider],
            "media": [_routine, _renamed],
        }
        self._kinds = [kind for database in databases for kind in every[database]]

    def next(self) -> Statements:
        """The next change, or the removal of an earlier one."""
        if len(self._undo) > 3:
            return self._undo.pop(self._random.randrange(len(self._undo)))
        self._number += 1
        do, undo = self._random.choice(self._kinds)(self._random.getrandbits(40))
        if undo:
            self._undo.append(undo)
        return do


def _app(*statements: str) -> Statements:
    return [("application", statement) for statement in statements]


def _column(mark: int) -> tuple[Statements, Statements]:
    return (
        _app(f"ALTER TABLE orders.customers ADD COLUMN extra_{mark} INT NOT NULL DEFAULT {mark % 1000}"),
        _app(f"ALTER TABLE orders.customers DROP COLUMN extra_{mark}"),
    )


def _column_without_key(mark: int) -> tuple[Statements, Statements]:
    return (
        _app(f"ALTER TABLE orders.visits ADD COLUMN c_{mark} VARCHAR(20) DEFAULT '🦊' FIRST"),
        _app(f"ALTER TABLE orders.visits DROP COLUMN c_{mark}"),
    )


def _new_table(mark: int) -> tuple[Statements, Statements]:
    table = f"orders.season_{mark}"
    return (
        _app(
            f"CREATE TABLE {table} (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, what VARCHAR(50), KEY (what)) "
            "COMMENT = 'it''s made; by the workload'",
            f"INSERT INTO {table} (what) VALUES ('spring'), ('été'), ('秋')",
        ),
        _app(f"DROP TABLE {table}"),
    )


def _truncate(_mark: int) -> tuple[Statements, Statements]:
    return _app("TRUNCATE TABLE orders.cart"), []


def _account(mark: int) -> tuple[Statements, Statements]:
    return (
        [
            ("admin", f"CREATE USER guest_{mark}@'%' IDENTIFIED BY 'guest {mark}'"),
            ("admin", f"GRANT SELECT, SHOW VIEW ON orders.* TO guest_{mark}@'%'"),
        ],
        [("admin", f"DROP USER guest_{mark}@'%'")],
    )


def _view(mark: int) -> tuple[Statements, Statements]:
    return (
        _app(
            f"CREATE OR REPLACE VIEW orders.open_orders AS SELECT id, net, {mark} AS mark "
            "FROM orders.orders WHERE status = 'open'"
        ),
        [],
    )


def _index(mark: int) -> tuple[Statements, Statements]:
    return (
        _app(f"CREATE INDEX by_memo_{mark} ON accounts.transfers (memo(10), amount)"),
        _app(f"DROP INDEX by_memo_{mark} ON accounts.transfers"),
    )


def _wider(mark: int) -> tuple[Statements, Statements]:
    return _app(f"ALTER TABLE accounts.audit MODIFY what VARCHAR({40 + mark % 20}) NOT NULL"), []


def _routine(mark: int) -> tuple[Statements, Statements]:
    return (
        _app(
            f"CREATE FUNCTION media.f_{mark}(x INT) RETURNS INT DETERMINISTIC NO SQL "
            "BEGIN DECLARE y INT; SET y = x + 1; RETURN y; END"
        ),
        _app(f"DROP FUNCTION media.f_{mark}"),
    )


def _renamed(mark: int) -> tuple[Statements, Statements]:
    return (
        _app(
            f"CREATE TABLE media.draft_{mark} LIKE media.notes",
            f"RENAME TABLE media.draft_{mark} TO media.final_{mark}",
        ),
        _app(f"DROP TABLE media.final_{mark}"),
    )
