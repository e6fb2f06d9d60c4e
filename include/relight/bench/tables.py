"""The tables of the workloads, and what one transaction does to each.

In ``changes`` and ``before``, ``a``, ``b`` and ``d`` are the keys drawn for the transaction and ``s`` is
its number in the database. Each transaction updates twice, deletes a row, and inserts it anew.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """``turn`` says which transactions are this table's; ``fill`` makes row ``n`` of the columns ``filled``."""

    name: str
    turn: str
    rows: int
    definition: str
    filled: str
    fill: str
    changes: str
    before: str = ""


def _digits(groups: int) -> str:
    """Text as sysbench makes it: groups of 11 random digits."""
    return "CONCAT_WS('-', " + ", ".join(["LPAD(FLOOR(RAND() * 1e11), 11, '0')"] * groups) + ")"


_C, _PAD = _digits(10), _digits(5)
_COLUMNS = "k INT NOT NULL DEFAULT 0, c CHAR(120) NOT NULL DEFAULT '', pad CHAR(60) NOT NULL DEFAULT ''"


def _sysbench(name: str, turn: str, rows: int, keys: str) -> Table:
    """A table and a transaction as of sysbench's ``oltp_write_only``; ``keys`` defines ``id`` and the keys."""
    return Table(
        name, turn, rows, f"{keys}, {_COLUMNS}", "id, k, c, pad", f"n, 1 + FLOOR(RAND() * {rows}), {_C}, {_PAD}",
        f"UPDATE {name} SET k = k + 1 WHERE id = a; UPDATE {name} SET c = {_C} WHERE id = b;"
        f" DELETE FROM {name} WHERE id = d; INSERT INTO {name} (id, k, c, pad) VALUES (d, a, {_C}, {_PAD});",
    )  # fmt: skip


_KEYED = "id INT NOT NULL AUTO_INCREMENT, PRIMARY KEY (id), KEY (k)"


def plain(rows: int) -> list[Table]:
    """Four tables of sysbench, in turn."""
    return [_sysbench(f"t{number}", f"s % 4 = {number}", rows, _KEYED) for number in range(4)]


def mixed(rows: int) -> list[Table]:
    """Four tables of that size and two small ones, which are what replaying by primary key finds hard.

    Blobs take 1 transaction in 25, and few of them are large: full row images hold each blob six times,
    and more would make a log of gigabytes. Without an index, every change reads the whole table.
    """
    return [
        _blobs("s % 25 = 7", max(rows // 25, 10)),
        _sysbench("heap", "s % 50 = 11", max(rows // 50, 10), "id INT NOT NULL"),
        _names("s % 4 = 0", rows),
        _people("s % 4 = 1", rows),
        _sysbench("events", "s % 4 = 2", rows, "id INT NOT NULL, KEY (id)"),
        _sysbench("accounts", "s % 4 = 3", rows, _KEYED),
    ]


def _names(turn: str, rows: int) -> Table:
    """A composite key with a string in it, respelled now and then: other bytes, the same key to the collation."""
    where = "WHERE name = CONCAT('key ', {0}) AND tenant = {0} % 7"
    return Table(
        "names", turn, rows,
        f"name VARCHAR(64) COLLATE utf8mb4_0900_ai_ci NOT NULL, tenant INT NOT NULL, {_COLUMNS},"
        " PRIMARY KEY (name, tenant), KEY (k)",
        "name, tenant, k, c, pad", f"CONCAT('K\u00e9y ', n), n % 7, n, {_C}, {_PAD}",
        f"UPDATE names SET k = k + 1 {where.format('a')};"
        f" UPDATE names SET name = IF(RAND() < 0.5, UPPER(name), LOWER(name)), c = {_C} {where.format('b')};"
        f" DELETE FROM names {where.format('d')};"
        f" INSERT INTO names (name, tenant, k, c, pad) VALUES (CONCAT('Key ', d), d % 7, a, {_C}, {_PAD});",
    )  # fmt: skip


def _people(turn: str, rows: int) -> Table:
    """A second unique key and a document. In every fourth transaction a row takes over the deleted row's address."""
    document = "JSON_OBJECT('seen', 0, 'tags', JSON_ARRAY('new', 'bench'), 'note', LEFT({}, 60))"
    return Table(
        "people", turn, rows,
        "id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, email VARCHAR(80) NOT NULL, doc JSON NOT NULL,"
        f" {_COLUMNS}, UNIQUE KEY (email)",
        "id, email, doc, k, c, pad", f"n, CONCAT(n, '@first.example'), {document.format(_C)}, n, {_C}, {_PAD}",
        "UPDATE people SET doc = JSON_SET(doc, '$.seen', s, '$.tags', JSON_ARRAY(a, b)) WHERE id = a;"
        " DELETE FROM people WHERE id = d;"
        " UPDATE people SET k = k + 1, email = COALESCE(e, email) WHERE id = b;"
        " INSERT INTO people (id, email, doc, k, c, pad)"
        f" VALUES (d, CONCAT(s, '@later.example'), {document.format(_C)}, a, {_C}, {_PAD});",
        before="SET e = IF(RAND() < 0.25, (SELECT email FROM people WHERE id = d), NULL);",
    )  # fmt: skip


def _blobs(turn: str, rows: int) -> Table:
    """Blobs of 1 to 60 KB, 7.5 KB in the mean."""
    body = "REPEAT(SHA2(RAND(), 512), 8 + FLOOR(461 * POW(RAND(), 8)))"
    return Table(
        "blobs", turn, rows,
        "id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL, body LONGBLOB NOT NULL",
        "id, k, body", f"n, n, {body}",
        f"UPDATE blobs SET k = k + 1 WHERE id = a; UPDATE blobs SET body = {body} WHERE id = b;"
        f" DELETE FROM blobs WHERE id = d; INSERT INTO blobs (id, k, body) VALUES (d, a, {body});",
    )  # fmt: skip


LARGE_TRANSACTION = 49_400
"""Bytes that a transaction on a table of :func:`large` takes in the log: six images of 8 KB rows."""


def large(rows: int) -> list[Table]:
    """Four tables of 8 KB rows, in turn."""
    return [_large(f"t{number}", f"s % 4 = {number}", rows) for number in range(4)]


def _large(name: str, turn: str, rows: int) -> Table:
    pad = "REPEAT(SHA2(RAND(), 512), 64)"
    return Table(
        name, turn, rows,
        "id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL, pad BLOB NOT NULL",
        "id, k, pad", f"n, n, {pad}",
        f"UPDATE {name} SET k = k + 1 WHERE id = a; UPDATE {name} SET pad = {pad} WHERE id = b;"
        f" DELETE FROM {name} WHERE id = d; INSERT INTO {name} (id, k, pad) VALUES (d, a, {pad});",
    )  # fmt: skip
