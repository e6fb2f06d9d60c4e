"""Changes to users, sessions and money."""

from __future__ import annotations

from random import Random

from relight.lab.changes.values import blob, text


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
            f"(x'{key}', 'u{key[:9]}', {text(random)}, {blob(random, 60)}, JSON_OBJECT('x', {random.random()}), NOW(3))"
        ),
        f"INSERT INTO accounts.sessions (token, user_id, started) VALUES ({blob(random, 30)}, x'{key}', NOW(6))",
    ]


def _user_change(random: Random) -> list[str]:
    low = random.randint(0, 255)
    some = f"id BETWEEN x'{low:02x}' AND x'{low:02x}ff' AND login LIKE 'u%' LIMIT 3"
    return [
        random.choice(
            (
                f"UPDATE accounts.users SET active = NOT active, seen = NOW(3) WHERE {some}",
                f"UPDATE accounts.users SET login = UPPER(login) WHERE {some}",
                f"UPDATE accounts.users SET settings = NULL, display = {text(random)} WHERE {some}",
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


KINDS = (_transfer, _transfer, _transfer, _user, _user_change, _user_gone, _session, _session_gone)
"""What may be done; what stands there more often is done more often."""
