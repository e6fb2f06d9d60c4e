"""What in a statement's text makes its values depend on more than the log says."""

from __future__ import annotations

from sqlglot.errors import TokenError
from sqlglot.tokens import Token, TokenType  # type: ignore[attr-defined]

from relight.lane.statement import tokens_of

SYSTEM_ZONE = "the time zone SYSTEM"
_OF_THE_SESSION = {
    "AES_ENCRYPT": "block_encryption_mode", "AES_DECRYPT": "block_encryption_mode",
    "CURRENT_ROLE": "the session's roles", "PS_CURRENT_THREAD_ID": "the number of a thread",
    "PS_THREAD_ID": "the number of a thread", "STATEMENT_DIGEST": "max_digest_length",
    "STATEMENT_DIGEST_TEXT": "max_digest_length", "VALIDATE_PASSWORD_STRENGTH": "the password policy",
}  # fmt: skip
"""Functions that MySQL 9.7 takes in a default or a generated column although they depend on more than the log says.
All others of that kind it refuses there (seen: UUID, RAND, USER, VERSION, SYSDATE, variables, and so on)."""


def computes_with(sql: str) -> frozenset[str]:
    """What in a statement, or a part of one, gives another result in another session, and no log says in which: in
    words. The zone ``SYSTEM`` is not among them where it is the session's, since the log says that."""
    try:
        tokens = tokens_of(sql)
    except TokenError:
        return frozenset({"something that cannot be read"})
    found = set()
    for at, token in enumerate(tokens):
        if token.token_type in (TokenType.IDENTIFIER, TokenType.STRING):
            continue
        name, following = token.text.upper(), [one.text.upper() for one in tokens[at + 1 : at + 3]]
        if following[:1] == ["("] and name in _OF_THE_SESSION:
            found.add(_OF_THE_SESSION[name])
        elif token.token_type == TokenType.SLASH:
            found.add("div_precision_increment")
        elif (name == "WEEK" and following[:1] == ["("] and _arguments(tokens[at + 2 :]) == 1) or (
            name == "EXTRACT" and following == ["(", "WEEK"]
        ):
            found.add("default_week_format")
        elif name == "CONVERT_TZ" and any(one.text.upper() == "SYSTEM" for one in tokens[at:]):
            found.add(SYSTEM_ZONE)
    return frozenset(found)


def _arguments(tokens: list[Token]) -> int:
    """How many a function has, whose parenthesis was opened in front of these tokens."""
    depth, count = 0, 1
    for token in tokens:
        if token.token_type not in (TokenType.IDENTIFIER, TokenType.STRING):
            if token.text == ")" and not depth:
                return count
            depth += (token.text == "(") - (token.text == ")")
            count += token.text == "," and not depth
    return count
