"""Letting one account into a server that is closed: the replicas', which clone it and follow it before it is opened.

What was done stands in the account itself, as an attribute. So it is known wherever the data are, in clones too, and
an account that had the right anyway keeps it.
"""

from __future__ import annotations

from relight.credentials import Login
from relight.server.session import Session

_MARK = "relight_let_in"


def let_in(session: Session, login: Login) -> None:
    """Let the account in although ``offline_mode`` is on. Nothing of this may be logged: the caller sees to that."""
    for (host,) in session.rows(
        "SELECT host FROM mysql.user account WHERE user = %s AND NOT EXISTS (SELECT 1 FROM mysql.global_grants"
        " WHERE user = account.user AND host = account.host AND priv = 'CONNECTION_ADMIN')",
        login.user,
    ):
        # The mark first: killed in between, there is nothing to take back, which does no harm.
        session.run("ALTER USER %s@%s ATTRIBUTE %s", login.user, host, f'{{"{_MARK}": true}}')
        session.run("GRANT CONNECTION_ADMIN ON *.* TO %s@%s", login.user, host)


def shut_out(session: Session, login: Login) -> None:
    """Take back what :func:`let_in` has given, here or where these data were cloned from; sessions stay."""
    for host in _marked(session, login):
        session.run("REVOKE IF EXISTS CONNECTION_ADMIN ON *.* FROM %s@%s", login.user, host)
        session.run("ALTER USER %s@%s ATTRIBUTE %s", login.user, host, f'{{"{_MARK}": null}}')


def is_let_in(session: Session, login: Login) -> bool:
    """Whether there is something to take back."""
    return bool(_marked(session, login))


def _marked(session: Session, login: Login) -> list[str]:
    return [str(host) for (host,) in session.rows(
        "SELECT host FROM information_schema.user_attributes WHERE user = %s"
        f" AND JSON_CONTAINS_PATH(attribute, 'one', '$.{_MARK}')",
        login.user,
    )]  # fmt: skip
