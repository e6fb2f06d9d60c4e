"""Changes to the shop."""

from __future__ import annotations

from random import Random

from relight.lab.changes.values import text


def _order(random: Random) -> list[str]:
    lines = ", ".join(
        f"(@o, {n}, '{_sku(random)}', {random.randint(1, 9)}, {random.randint(1, 99999) / 100})"
        for n in range(1, random.randint(2, 5))
    )
    return [
        (
            f"INSERT INTO orders.orders (customer_id, net, note) VALUES ({random.randint(1, 300)}, "
            f"{random.randint(0, 10**6) / 100}, {random.choice(['NULL', text(random)])})"
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
            f"('{random.randbytes(6).hex()}@example.com', {text(random)}, 'mail,sms', "
            f"{random.randint(-9999, 9999) / 7:.4f}, DATE_ADD('1930-01-01', INTERVAL {random.randint(0, 30000)} DAY), "
            f"JSON_OBJECT('n', {random.randint(0, 9)}))"
        )
    ]


def _customer_change(random: Random) -> list[str]:
    one = random.randint(1, 300)
    return [
        random.choice(
            (
                f"UPDATE orders.customers SET balance = balance * 1.01, name = {text(random)} WHERE id = {one}",
                f"UPDATE orders.customers SET preferences = JSON_SET(preferences, '$.n', {one}) WHERE id = {one}",
                f"UPDATE orders.customers SET tier = 'gold', wants = 'post' WHERE id BETWEEN {one} AND {one + 9}",
                f"DELETE FROM orders.customers WHERE id > 300 AND orders_placed = 0 AND id % 50 = {one % 50}",
                # The key itself changes.
                f"UPDATE orders.customers SET id = id + 1000000 WHERE id BETWEEN 301 AND 999999 AND id % 97 = {one}",
            )
        )
    ]


def _product(random: Random) -> list[str]:
    sku = _sku(random)
    return [
        random.choice(
            (
                f"UPDATE orders.products SET stock = stock - 1, ratio = ratio / 3 WHERE sku = '{sku}'",
                (
                    f"UPDATE orders.products SET flags = {random.getrandbits(12)}, pick_up = '-02:30:00.1' "
                    f"WHERE sku = '{sku}'"
                ),
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


def _sku(random: Random) -> str:
    number = random.randint(1, 100)
    return f"{('Ab', 'cÉ', 'xY')[number % 3]}-{number:04}"


KINDS = (
    _order,
    _order,
    _order,
    _call_order,
    _pay,
    _cancel,
    _customer,
    _customer_change,
    _product,
    _visit,
    _visit_change,
    _cart,
    _counter,
)
"""What may be done; what stands there more often is done more often."""
