"""Values that the server computes with the settings of a session: of rows, no log says what these were.

A generated column is computed again when a row is replayed, so it may be another one than the log says although all
that it is made of is right; a replica would have another one, too. Whether that can be is not guessed from its
expression: it is computed here under several settings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from relight.errors import StatementFailed
from relight.server.session import Session, quoted
from relight.verify.columns import Column

_AT_ONCE = 100
_ZONES = ("-13:59", *(f"{hour:+03d}:00" for hour in range(-12, 15)), "+05:30", "+05:45", "-03:30", "+12:45")
_SETTINGS = (
    *(f"time_zone = '{zone}'" for zone in _ZONES),
    *(f"sql_mode = '{mode}'" for mode in (
        "NO_ZERO_DATE", "NO_ZERO_IN_DATE", "NO_UNSIGNED_SUBTRACTION", "PAD_CHAR_TO_FULL_LENGTH",
        "TIME_TRUNCATE_FRACTIONAL", "REAL_AS_FLOAT",
    )),
    "lc_time_names = 'ja_JP'", "default_week_format = 3", "div_precision_increment = 9",
    "block_encryption_mode = 'aes-256-cbc'",
)  # fmt: skip
_AS_IT_IS = (
    "time_zone = '+00:00', sql_mode = '', lc_time_names = 'en_US', default_week_format = DEFAULT,"
    " div_precision_increment = DEFAULT, block_encryption_mode = DEFAULT"
)
"""Of the sessions that look at rows."""

Values = tuple[str, ...]


def vary(
    session: Session, database: str, table: str, conditions: Sequence[str], columns: Sequence[Column]
) -> list[frozenset[str]]:
    """Of the rows that each condition finds: which of the generated columns have other values under other settings."""
    found: list[frozenset[str]] = []
    for first in range(0, len(conditions), _AT_ONCE):
        found += _vary(session, database, table, conditions[first : first + _AT_ONCE], columns)
    return found


def _vary(
    session: Session, database: str, table: str, conditions: Sequence[str], columns: Sequence[Column]
) -> list[frozenset[str]]:
    varying: dict[int, set[str]] = defaultdict(set)
    try:
        session.run(f"SET SESSION {_AS_IT_IS}")
        usual = _computed(session, database, table, conditions, columns)
        for setting in _SETTINGS:
            session.run(f"SET SESSION {setting}")
            other = _computed(session, database, table, conditions, columns)
            session.run(f"SET SESSION {_AS_IT_IS}")
            for number, values in usual.items():
                pairs = zip(columns, values, other.get(number, values), strict=True)
                varying[number] |= {column.name for column, one, another in pairs if one != another}
    except StatementFailed:
        session.run(f"SET SESSION {_AS_IT_IS}")
        return [frozenset()] * len(conditions)  # nobody knows: what differs is wrong
    return [frozenset(varying[number]) for number in range(len(conditions))]


def _computed(
    session: Session, database: str, table: str, conditions: Sequence[str], columns: Sequence[Column]
) -> dict[int, Values]:
    """By the number of the condition: the values of each column in all rows that it finds, in words."""
    which = " ".join(f"WHEN {condition} THEN {number}" for number, condition in enumerate(conditions))
    values = ", ".join(f"({column.generated})" for column in columns)
    rows: dict[int, list[Values]] = defaultdict(list)
    for number, *computed in session.rows(
        f"SELECT CASE {which} END, {values} FROM {quoted(database, table)} WHERE {' OR '.join(conditions)}"
    ):
        rows[int(number)].append(tuple(map(repr, computed)))
    return {number: tuple(str(sorted(its)) for its in zip(*found, strict=True)) for number, found in rows.items()}
