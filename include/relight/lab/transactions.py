"""What the workload's transactions do: every kind of change to every kind of table of the lab.

All choices come from one random generator, so the same seed gives the same statements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

_WORDS = ("blue", "Grün", "рыба", "猫", "🦊", "O\\'Hara", "percent %", 'a "quoted" one', "back\\\\slash", "")


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
        self._kinds = [(database, kind) for database in databases for kind in _kinds(database)]

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


Kind = Callable[[Random], list[str]]


def _kinds(database: str) -> list[Kind]:
    every: dict[str, list[Kind]] = {
        "orders": [_order, _order, _order, _call_order, _pay, _cancel, _customer, _customer_change, _product, _visit,
                   _visit_change, _cart, _counter],
        "accounts": [_transfer, _transfer, _transfer, _user, _user_change, _user_gone, _session, _session_gone],
        "media": [_file, _file_change, _file_gone, _tag, _note, _download],
    }  # fmt: skip
    return every[database]


def _text(random: Random, words: int = 3) -> str:
    return "'" + " ".join(random.choices(_WORDS, k=words)) + "'"


def _blob(random: Random, most: int) -> str:
    return f"x'{random.randbytes(random.randint(1, most)).hex()}'"


def _sku(random: Random) -> str:
    number = random.randint(1, 100)
    return f"{('Ab', 'cÉ', 'xY')[number % 3]}-{number:04}"


def _order(random: Random) -> list[str]:
    lines = ", ".join(
        f"(@o, {n}, '{_sku(random)}', {random.randint(1, 9)}, {random.randint(1, 99999) / 100})"
        for n in range(1, random.randint(2, 5))
    )
    return [
        (
            f"INSERT INTO orders.orders (customer_id, net, note) VALUES ({random.randint(1, 300)}, "
            f"{random.randint(0, 10**6) / 100}, {random.choice(['NULL', _text(random)])})"
        ),
        "SET @o = LAST_INSERT_ID()",
        f"INSERT INTO orders.order_lines (order_id, line, sku, quantity, price) VALUES {lines}",
    ]


def _call_order(random: Random) -> list[str]:
    return [f"CALL orders.place_order({random.randint(1, 300)}, '{_sku(random)}', {random.randint(1, 9)})"]


def _pay(random: Random) -> list[str]:
    status = random.choice(("open", "paid", "sent", "returned"))
    return [
        f"UPDATE orders.orders SET status = '{status}', net = net + 0.01 WHERE customer_id = {random.randint(1, 300)}"
    ]


def _cancel(random: Random) -> list[str]:
    return [f"DELETE FROM orders.orders WHERE customer_id = {random.randint(1, 300)} ORDER BY id LIMIT 3"]


def _customer(random: Random) -> list[str]:
    return [
        (
            "INSERT INTO orders.customers (email, name, wants, balance, born, preferences) VALUES "
            f"('{random.randbytes(6).hex()}@example.com', {_text(random)}, 'mail,sms', {random.randint(-9999, 9999) / 7:.4f}, "
            f"DATE_ADD('1930-01-01', INTERVAL {random.randint(0, 30000)} DAY), JSON_OBJECT('n', {random.randint(0, 9)}))"
        )
    ]


def _customer_change(random: Random) -> list[str]:
    one = random.randint(1, 300)
    return [
        random.choice(
            (
                f"UPDATE orders.customers SET balance = balance * 1.01, name = {_text(random)} WHERE id = {one}",
                f"UPDATE orders.customers SET preferences = JSON_SET(preferences, '$.n', {one}) WHERE id = {one}",
                f"UPDATE orders.customers SET tier = 'gold', wants = 'post' WHERE id BETWEEN {one} AND {one + 9}",
                f"DELETE FROM orders.customers WHERE id > 300 AND orders_placed = 0 AND id % 50 = {one % 50}",
                # The key itself changes.
                f"UPDATE orders.customers SET id = id + 1000000 WHERE id > 300 AND id < 1000000 AND id % 97 = {one % 97}",
            )
        )
    ]


def _product(random: Random) -> list[str]:
    sku = _sku(random)
    return [
        random.choice(
            (
                f"UPDATE orders.products SET stock = stock - 1, ratio = ratio / 3 WHERE sku = '{sku}'",
                f"UPDATE orders.products SET flags = {random.randint(0, 4095)}, pick_up = '-12:30:00.125' WHERE sku = '{sku}'",
                # The key itself changes, and order lines follow by cascade. Never to one that the collation
                # calls equal: MySQL 9.7 writes a log of that which its own replicas refuse (error 1451).
                (
                    f"UPDATE orders.products SET sku = CONCAT(LEFT(sku, 7), '{random.choice('QRST')}') "
                    f"WHERE sku LIKE '__-01{random.randint(1, 20):02}%'"
                ),
                (
                    f"UPDATE orders.products SET attributes = JSON_ARRAY_APPEND('[1]', '$', {random.randint(0, 99)}), "
                    f"since = {random.randint(1950, 2050)} WHERE sku = '{sku}'"
                ),
            )
        )
    ]


def _visit(random: Random) -> list[str]:
    rows = ", ".join(
        f"('{random.randint(1, 20):012}', '/{random.randint(0, 6)}', '2026-01-01 12:00:00', {random.randint(0, 2)})"
        for _ in range(random.randint(1, 4))
    )
    return [f"INSERT INTO orders.visits (visitor, page, at, seconds) VALUES {rows}"]


def _visit_change(random: Random) -> list[str]:
    who = f"visitor = '{random.randint(1, 20):012}' AND page = '/{random.randint(0, 6)}'"
    return [
        random.choice(
            (
                f"UPDATE orders.visits SET seconds = {random.choice(('NULL', '7', 'seconds + 1'))} WHERE {who}",
                f"DELETE FROM orders.visits WHERE {who}",
                f"DELETE FROM orders.visits WHERE {who} LIMIT 1",
            )
        )
    ]


def _cart(random: Random) -> list[str]:
    customer, sku = random.randint(1, 40), _sku(random)
    return [
        random.choice(
            (
                (
                    f"INSERT INTO orders.cart (customer_id, sku, quantity) VALUES ({customer}, '{sku}', 1) "
                    "ON DUPLICATE KEY UPDATE quantity = quantity + 1"
                ),
                f"REPLACE INTO orders.cart (customer_id, sku, quantity) VALUES ({customer}, '{sku}', 5)",
                f"DELETE FROM orders.cart WHERE customer_id = {customer}",
                f"UPDATE orders.cart SET customer_id = customer_id + 100 WHERE customer_id = {customer}",
                # A new key that the collation calls equal to the one before.
                f"UPDATE orders.cart SET sku = {random.choice(('UPPER', 'LOWER'))}(sku) WHERE customer_id = {customer}",
            )
        )
    ]


def _counter(random: Random) -> list[str]:
    return [f"UPDATE orders.counters SET value = value + {random.randint(1, 5)} WHERE name = 'orders'"]


def _transfer(random: Random) -> list[str]:
    # Lower number first, so that two transfers never wait for each other.
    low, high = sorted(random.sample(range(1, 251), 2))
    amount = random.randint(-(10**6), 10**6) / 1000
    return [f"CALL accounts.transfer('{random.choice(('EUR', 'usd'))}', 'User{low}', 'user{high}', {amount})"]


def _user(random: Random) -> list[str]:
    key = random.randbytes(16).hex()
    return [
        (
            "INSERT INTO accounts.users (id, login, display, secret, settings, seen) VALUES "
            f"(x'{key}', 'u{key[:9]}', {_text(random)}, {_blob(random, 60)}, JSON_OBJECT('x', {random.random()}), NOW(3))"
        ),
        f"INSERT INTO accounts.sessions (token, user_id, started) VALUES ({_blob(random, 30)}, x'{key}', NOW(6))",
    ]


def _user_change(random: Random) -> list[str]:
    low = random.randint(0, 255)
    some = f"id BETWEEN x'{low:02x}' AND x'{low:02x}ff' AND login LIKE 'u%' LIMIT 3"
    return [
        random.choice(
            (
                f"UPDATE accounts.users SET active = NOT active, seen = NOW(3) WHERE {some}",
                f"UPDATE accounts.users SET login = UPPER(login) WHERE {some}",
                f"UPDATE accounts.users SET settings = NULL, display = {_text(random)} WHERE {some}",
            )
        )
    ]


def _user_gone(random: Random) -> list[str]:
    low = random.randint(0, 255)
    return [f"DELETE FROM accounts.users WHERE id BETWEEN x'{low:02x}' AND x'{low:02x}ff' AND login NOT LIKE 'user%'"]


def _session(random: Random) -> list[str]:
    rows = random.randint(1, 5)
    return [
        f"INSERT INTO accounts.sessions (token, user_id, address, started) SELECT x'{random.randbytes(30).hex()}', id, "
        f"INET6_ATON('10.0.0.{random.randint(1, 250)}'), NOW(6) FROM accounts.users WHERE login = 'User{n}'"
        for n in random.sample(range(1, 251), rows)
    ]


def _session_gone(random: Random) -> list[str]:
    low = random.randint(0, 254)
    some = f"token BETWEEN x'{low:02x}' AND x'{low + 1:02x}'"
    return [
        random.choice(
            (
                f"DELETE FROM accounts.sessions WHERE {some}",
                f"UPDATE accounts.sessions SET token = CONCAT(token, 'x') WHERE {some} AND LENGTH(token) < 31",
            )
        )
    ]


def _file(random: Random) -> list[str]:
    return [
        (
            "INSERT INTO media.files (path, body, thumbnail) VALUES "
            f"('/new/{random.randbytes(8).hex()}', {_blob(random, random.choice((100, 1000, 8000)))}, {_blob(random, 200)})"
        )
    ]


def _file_change(random: Random) -> list[str]:
    some = f"WHERE id % 61 = {random.randint(0, 60)} ORDER BY id DESC LIMIT 2"
    return [
        random.choice(
            (
                f"UPDATE media.files SET body = {_blob(random, 2000)} {some}",
                f"UPDATE media.files SET path = CONCAT('/moved', LEFT(path, 200), id) {some}",
                f"UPDATE media.files SET thumbnail = NULL {some}",
            )
        )
    ]


def _file_gone(random: Random) -> list[str]:
    return [f"DELETE FROM media.files WHERE id > 60 AND id % 53 = {random.randint(0, 52)} ORDER BY id LIMIT 3"]


def _tag(random: Random) -> list[str]:
    return [
        f"INSERT IGNORE INTO media.file_tags (file_id, tag) VALUES ({random.randint(1, 60)}, 'TAG{random.randint(1, 20)}')",
        f"DELETE FROM media.file_tags WHERE file_id = {random.randint(1, 60)} LIMIT 1",
    ]


def _note(random: Random) -> list[str]:
    one = random.randint(1, 40)
    return [
        random.choice(
            (
                f"UPDATE media.notes SET body = CONCAT(LEFT(body, 300), {_text(random, 30)}) WHERE id = {one}",
                f"UPDATE media.notes SET latin = 'Straße {one}', language = 'de' WHERE id = {one}",
            )
        )
    ]


def _download(random: Random) -> list[str]:
    return [
        (
            f"INSERT INTO media.downloads (file_id, day, count) VALUES ({random.randint(1, 60)}, "
            f"DATE_ADD('2026-03-01', INTERVAL {random.randint(0, 5)} DAY), 1) ON DUPLICATE KEY UPDATE count = count + 1"
        )
    ]
