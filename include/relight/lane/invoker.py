"""Lets a statement name the account that it ran as, where the server's applier takes it from the event.

A session cannot be another account's. So ``CURRENT_USER`` is written out in statements about accounts, and an event or
a routine gets its DEFINER; the column ``Grantor`` of what was granted is put right afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from relight.binlog.query import ANSI_QUOTES, NO_BACKSLASH_ESCAPES, Context, Query

_UTF8 = frozenset({33, 45, 46, 76, 83, *range(192, 248), *range(255, 324)})
"""Numbers of collations of utf8mb3 and utf8mb4: names of accounts are logged in UTF-8."""

_SKIPPED = rb"/\*!\d*|/\*.*?\*/|--(?=\s)[^\n]*|#[^\n]*|`(?:[^`]|``)*`"
_ESCAPING = rb"Q(?:[^Q\\]|\\.|QQ)*Q"
_PLAIN = rb"Q(?:[^Q]|QQ)*Q"
_WORD = rb"(?P<word>[A-Za-z_$0-9\x80-\xff]+)|(?P<sign>[=(.@])"
_ABOUT_ACCOUNTS = re.compile(rb"(GRANT|REVOKE|(CREATE|ALTER|DROP|RENAME) (USER|ROLE)|SET (PASSWORD|DEFAULT))\b")
_WITH_DEFINER = re.compile(rb"(ALTER EVENT|CREATE (EVENT|TRIGGER|PROCEDURE|FUNCTION))\b")
_GRANTS = re.compile(rb"(GRANT|REVOKE)\b")
_GRANTED = ("tables_priv", "procs_priv", "proxies_priv")
"""Tables of the server that say who granted something."""


class _Word(NamedTuple):
    text: bytes
    start: int
    end: int


def as_invoker(text: bytes, context: Context) -> bytes:
    """The statement with the account written out that it ran as.

    :raises ValueError: the account's name cannot be written in the statement's character set.
    """
    if context.invoker is None:
        return text
    words = list(_words(text, context.sql_mode or 0))
    head = b" ".join(word.text for word in words[:4])
    account = _account(context)
    if _ABOUT_ACCOUNTS.match(head):
        return _replaced(text, words, account, from_=0)
    if words[1:3] and words[1].text == b"DEFINER" and words[2].text == b"=":
        return _replaced(text, words[:6], account, from_=3)
    if _WITH_DEFINER.match(head) and not any(word.text == b"SONAME" for word in words):
        at = words[0].end
        return text[:at] + b" DEFINER=" + account + text[at:]
    return text


def grantor_of(query: Query, moment: int) -> tuple[str, ...]:
    """Statements that put who granted something in place of the session that has repeated it, and may be repeated."""
    if query.context.invoker is None or not _GRANTS.match(query.text.lstrip().upper()):
        return ()
    user, host = (f"CONVERT(x'{part.hex()}' USING utf8mb4)" for part in query.context.invoker)
    return tuple(
        f"UPDATE mysql.{table} SET Grantor = CONCAT({user}, '@', {host}), Timestamp = Timestamp"
        f" WHERE Grantor = USER() AND Timestamp = FROM_UNIXTIME({moment})"
        for table in _GRANTED
    )


def _words(text: bytes, sql_mode: int) -> Iterator[_Word]:
    """The words outside of quotes and comments, in capital letters, and the signs that matter here."""
    plain, ansi = bool(sql_mode & NO_BACKSLASH_ESCAPES), bool(sql_mode & ANSI_QUOTES)
    strings = (_PLAIN if plain else _ESCAPING).replace(b"Q", b"'")
    doubles = (_PLAIN if plain or ansi else _ESCAPING).replace(b"Q", b'"')
    for found in re.finditer(b"|".join((_SKIPPED, strings, doubles, _WORD)), text, re.DOTALL):
        if found["word"] or found["sign"]:
            yield _Word(found[0].upper(), found.start(), found.end())


def _account(context: Context) -> bytes:
    user, host = context.invoker or (b"", b"")
    if not (user + host).isascii() and context.charset is not None and context.charset[0] not in _UTF8:
        raise ValueError("the account that a statement ran as has a name that its character set may not have")
    return b"@".join(b"`" + part.replace(b"`", b"``") + b"`" for part in (user, host))


def _replaced(text: bytes, words: list[_Word], account: bytes, *, from_: int) -> bytes:
    """The text with the account in place of ``CURRENT_USER`` and ``CURRENT_USER()`` among its words."""
    done, parts = 0, []
    for number, word in enumerate(words):
        before = words[number - 1].text if number else b""
        if number < from_ or word.text != b"CURRENT_USER" or before in (b".", b"@"):
            continue
        end = word.end
        if words[number + 1 : number + 2] and words[number + 1].text == b"(":
            end = text.index(b")", words[number + 1].end) + 1
        parts += [text[done : word.start], account]
        done = end
    return b"".join([*parts, text[done:]])
