"""The databases of a lab shard: every kind of table, key, type and object at least once."""

from __future__ import annotations

from pathlib import Path

from relight.server.session import Session

DATABASES = ("orders", "accounts", "media")

APPLICATION = "shop"
"""The application's account, and the definer of triggers, routines, events and views."""


def create(session: Session) -> None:
    """Make and fill the databases, and let the application's account at them.

    The account itself must be there. Everything is written to the binary log.
    """
    for database in DATABASES:
        session.run(f"GRANT ALL PRIVILEGES ON `{database}`.* TO {APPLICATION}@'%'")
    for database in DATABASES:
        for statement in statements((Path(__file__).parent / f"{database}.sql").read_text(encoding="utf-8")):
            session.run(statement)


def statements(text: str) -> list[str]:
    """The statements of a file in which blank lines separate them."""
    return [part.strip().removesuffix(";") for part in text.split("\n\n") if part.strip()]
