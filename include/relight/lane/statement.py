"""What a logged statement does to tables, read from its tokens.

Only what accounting and lanes need: which tables appear, vanish, are emptied or renamed, and
which databases are named. Whatever is not understood is said to be unknown, never guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from sqlglot.dialects.mysql import MySQL
from sqlglot.errors import TokenError
from sqlglot.tokens import Token, TokenType  # type: ignore[attr-defined]

from relight.accounting import Create, Drop, DropDatabase, Immediate, Rename, Truncate, Unknown

_VERSION_COMMENT = re.compile(r"/\*!\d*(.*?)\*/", re.DOTALL)
"""What dumps wrap statements in. It was run: what a server does not run, it logs without the exclamation mark."""


@dataclass(frozen=True)
class Effect:
    """``names``: every name that may be a database's; None where the statement cannot be read, or is about
    something that tables of any database may need. ``operations``: what it does to row counts, in order."""

    names: frozenset[str] | None
    operations: tuple[Immediate, ...]

    def folded(self) -> Effect:
        """The same on a server that keeps all names in small letters."""
        names = None if self.names is None else frozenset(name.lower() for name in self.names)
        return Effect(names, tuple(map(_folded, self.operations)))


def effect_of(sql: str, database: str) -> Effect:
    """The effect of a DDL or account statement run with ``database`` as its default.

    A name followed by a dot may be a database's or a table's; only who knows all databases of the
    shard can tell, so all are given. ``db.*``, as in GRANT, needs nothing of that database.
    """
    try:
        tokens = tokens_of(sql)
    except TokenError:
        return Effect(None, (Unknown(database, "", "the statement cannot be read"),))
    if _is_server_wide(_Words(list(_split_up(tokens)), database)):
        return Effect(None, ())
    names = {
        token.text
        for token, dot, after in zip(tokens, tokens[1:], tokens[2:], strict=False)
        if dot.text == "." and after.text != "*"
    }
    operations = _operations(_Words(list(_split_up(tokens)), database))
    names |= {operation.database for operation in operations}
    if _may_read_default_database(_Words(list(_split_up(tokens)), database)):
        names.add(database)
    names |= {o.new_database for o in operations if isinstance(o, Rename)}
    return Effect(frozenset(n for n in names if n), operations)


def _folded(operation: Immediate) -> Immediate:
    fields = ("database", "table", "new_database", "new_table")
    return replace(operation, **{name: getattr(operation, name).lower() for name in fields if hasattr(operation, name)})


def written_anew(sql: str, database: str) -> tuple[tuple[str, str], ...]:
    """The tables whose rows a statement may copy, and whose stored columns it may compute: those that it alters."""
    try:
        words = _Words(list(_split_up(tokens_of(sql))), database)
    except TokenError:
        return ()
    if words.accept("ALTER", "TABLE"):
        return (words.table(),)
    if words.accept("OPTIMIZE") or words.accept("REPAIR"):
        words.accept("LOCAL") or words.accept("NO_WRITE_TO_BINLOG")
        return tuple(words.tables()) if words.accept("TABLE") or words.accept("TABLES") else ()
    if words.accept("CREATE") or words.accept("DROP"):
        for _ in range(2):
            if words.accept("INDEX"):
                return (words.table(),) if words.seek("ON") else ()
            words.skip_one()  # UNIQUE, FULLTEXT, SPATIAL
    return ()


def written_by(sql: str, database: str) -> frozenset[str] | None:
    """The names, in small letters, of the tables whose rows a statement itself changes. None: it cannot be told. What a
    statement only reads is not among them."""
    try:
        found = _changed(_Words(list(_split_up(tokens_of(sql))), database))
    except TokenError:
        return None
    return None if found is None else frozenset(name.lower() for name in found)


def _changed(words: _Words) -> set[str] | None:
    if words.accept("INSERT") or words.accept("REPLACE"):
        while words.peek() in ("LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "INTO"):
            words.skip_one()
        return {words.table()[1]}
    if words.accept("UPDATE"):
        return words.until("SET")
    if words.accept("DELETE"):
        return words.until("WHERE", "ORDER", "LIMIT")
    if words.accept("LOAD"):
        return {words.table()[1]} if words.seek("TABLE") else None
    if words.accept("CREATE", "TEMPORARY") or words.accept("DROP", "TEMPORARY"):
        return set()
    return None


def tables_of(sql: str, database: str) -> frozenset[tuple[str, str]]:
    """The tables that a DDL is about; none where it is, or may be, about something else too."""
    operations = effect_of(sql, database).operations
    if any(isinstance(one, DropDatabase) or not one.table for one in operations):
        return frozenset()
    found = {(one.database, one.table) for one in operations if not isinstance(one, DropDatabase)}
    found |= {(one.new_database, one.new_table) for one in operations if isinstance(one, Rename)}
    return frozenset(name for name in found | set(written_anew(sql, database)) if all(name))


def words_of(sql: str) -> frozenset[str]:
    """Every word of a statement in small letters, quoted or not: whatever is named by it is among them.

    Of a statement that cannot be read they are told apart by what cannot be part of a plain name.
    """
    try:
        return frozenset(token.text.lower() for token in tokens_of(sql))
    except TokenError:
        return frozenset(re.findall(r"[\w$]+", sql.lower()))


def tokens_of(sql: str) -> list[Token]:
    """Tokens of a statement. sqlglot keeps the rest of some statements (RENAME, CALL) as one text."""
    tokens = MySQL().tokenize(_VERSION_COMMENT.sub(r" \1 ", sql))
    if len(tokens) == 2 and tokens[0].token_type in MySQL.Tokenizer.COMMANDS:
        return [tokens[0], *tokens_of(tokens[1].text)]
    return list(tokens)


class _Word(NamedTuple):
    """``keyword`` is empty where the text is quoted, so that a column called `rename` is not taken for one."""

    text: str
    keyword: str


def _split_up(tokens: list[Token]) -> Iterator[_Word]:
    """Words one by one: sqlglot makes one token of some pairs of keywords, such as RENAME TABLE."""
    for token in tokens:
        if token.token_type in (TokenType.IDENTIFIER, TokenType.STRING):
            yield _Word(token.text, "")
        else:
            yield from (_Word(text, text.upper()) for text in token.text.split())


class _Words:
    """The words of a statement, taken one by one."""

    def __init__(self, tokens: list[_Word], database: str) -> None:
        self._tokens = tokens
        self._at = 0
        self._database = database

    @property
    def left(self) -> bool:
        return self._at < len(self._tokens)

    def peek(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at].keyword if at < len(self._tokens) else ""

    def accept(self, *words: str) -> bool:
        """Take the words if exactly they come next."""
        if all(self.peek(i) == word for i, word in enumerate(words)):
            self._at += len(words)
            return True
        return False

    def any(self, *words: str) -> bool:
        """Whether the words come one behind the other somewhere in what is left."""
        left = [token.keyword for token in self._tokens[self._at :]]
        return any(tuple(left[at : at + len(words)]) == words for at in range(len(left)))

    def seek(self, word: str) -> bool:
        """Go behind the next place where the word is, or to the end."""
        while self.left and not self.accept(word):
            self.skip_one()
        return self.left

    def until(self, *ends: str) -> set[str]:
        """Every word up to the next of ``ends``, quoted ones too."""
        found = set()
        while self.left and self.peek() not in ends:
            found.add(self.name())
        return found

    def skip_one(self) -> None:
        self._at += 1

    def name(self) -> str:
        token = self._tokens[self._at].text if self.left else ""
        self._at += 1
        return token

    def table(self) -> tuple[str, str]:
        """A table name with its database, the default one where none is written."""
        first = self.name()
        if self.accept("."):
            return first, self.name()
        return self._database, first

    def tables(self) -> list[tuple[str, str]]:
        found = [self.table()]
        while self.accept(","):
            found.append(self.table())
        return found


def _is_server_wide(words: _Words) -> bool:
    """Whether it is about a tablespace or a spatial reference system."""
    if not (words.accept("CREATE") or words.accept("ALTER") or words.accept("DROP")):
        return False
    words.accept("OR", "REPLACE")
    return words.accept("TABLESPACE") or words.accept("SPATIAL", "REFERENCE")


def _operations(words: _Words) -> tuple[Immediate, ...]:
    if words.accept("TRUNCATE"):
        words.accept("TABLE")
        return (Truncate(*words.table()),)
    if words.accept("DROP"):
        return _drop(words)
    if words.accept("CREATE"):
        return _create(words)
    if words.accept("RENAME", "TABLE") or words.accept("RENAME", "TABLES"):
        return _renames(words)
    if words.accept("ALTER", "TABLE"):
        return _alter(words)
    return ()


_NAMES_ALL_IT_NEEDS = frozenset(
    {"ALTER TABLE", "DROP", "TRUNCATE", "RENAME", "CREATE DATABASE", "CREATE SCHEMA", "ALTER DATABASE", "CREATE INDEX",
     "CREATE UNIQUE", "CREATE USER", "CREATE ROLE", "ALTER USER", "SET", "ANALYZE", "OPTIMIZE", "FLUSH"}
)  # fmt: skip
"""Statements with tables of the default database only where :func:`_operations` finds them, if at all."""


def _may_read_default_database(words: _Words) -> bool:
    """Whether a name without a database may be that of a table, a view or a routine it reads."""
    if not _NAMES_ALL_IT_NEEDS.isdisjoint({words.peek(), f"{words.peek()} {words.peek(1)}"}):
        return False
    if words.accept("GRANT") or words.accept("REVOKE"):
        on_something = words.seek("ON")
        if words.peek() in ("TABLE", "FUNCTION", "PROCEDURE"):
            words.skip_one()
        return on_something and words.peek() != "*" and words.peek(1) != "."
    if words.accept("CREATE", "TABLE"):
        return any(words.any(word) for word in ("SELECT", "TABLE", "LIKE"))
    return True


def _drop(words: _Words) -> tuple[Immediate, ...]:
    if words.accept("DATABASE") or words.accept("SCHEMA"):
        words.accept("IF", "EXISTS")
        return (DropDatabase(words.name()),)
    if words.accept("TEMPORARY"):
        return ()
    if words.accept("TABLE") or words.accept("TABLES"):
        words.accept("IF", "EXISTS")
        return tuple(Drop(*table) for table in words.tables())
    return ()


def _create(words: _Words) -> tuple[Immediate, ...]:
    if not words.accept("TABLE"):
        return ()  # also CREATE TEMPORARY TABLE, which holds no rows anyone counts
    if_absent = words.accept("IF", "NOT", "EXISTS")
    table = words.table()
    made = Create(*table, if_absent=if_absent)
    if words.any("SELECT") or words.any("TABLE") or words.any("VALUES", "ROW"):
        return (made, Unknown(*table, "filled by the statement that made it, which does not say how many rows"))
    return (made,)


def _renames(words: _Words) -> tuple[Immediate, ...]:
    found: list[Immediate] = []
    while words.left:
        old = words.table()
        if not words.accept("TO"):
            return (*found, Unknown(*old, "the RENAME cannot be read"))
        found.append(Rename(*old, *words.table()))
        if not words.accept(","):
            break
    return tuple(found)


def _alter(words: _Words) -> tuple[Immediate, ...]:
    table = words.table()
    while words.left:
        if words.peek() == "RENAME":
            words.skip_one()
            if words.peek() in ("COLUMN", "INDEX", "KEY"):
                continue
            if words.peek() in ("TO", "AS", "="):
                words.skip_one()
            return (Rename(*table, *words.table()),)
        if words.peek() in ("DROP", "TRUNCATE", "EXCHANGE", "DISCARD", "IMPORT") and words.peek(1) in (
            "PARTITION", "TABLESPACE",
        ):  # fmt: skip
            reason = f"{words.peek()} {words.peek(1)} moves rows that the log does not count"
            return (Unknown(*table, reason), *_exchanged(words, reason))
        words.skip_one()
    return ()


def _exchanged(words: _Words, reason: str) -> tuple[Immediate, ...]:
    """The other table of EXCHANGE PARTITION ... WITH TABLE."""
    while words.left:
        if words.accept("WITH", "TABLE"):
            return (Unknown(*words.table(), reason),)
        words.skip_one()
    return ()
