"""What the statements of a log make of definitions: they are run once more, on a server that has the definitions of
the snapshot, and no rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from pymysql.charset import charset_by_name

from relight.backups.manifest import Definition, Surroundings, Value
from relight.errors import StatementFailed
from relight.lane.computing import Computing
from relight.lane.rendering import collations_of, rendered
from relight.lane.segments import LaneSegment
from relight.lane.stage import clear_stage, set_stage
from relight.lane.statement import words_of
from relight.lane.statements import NOT_IN_THE_LOG
from relight.lane.stream import Piece, StreamReader, chunks
from relight.server import definitions
from relight.server.schema import databases
from relight.server.session import Session, connect, quoted
from relight.server.surroundings import put_on
from relight.verify.log_images import changes_definitions, statements_of

_ABOUT_ACCOUNTS = re.compile(
    r"\s*(GRANT|REVOKE|SET\s+(PASSWORD|DEFAULT\s+ROLE)|(CREATE|ALTER|DROP|RENAME)\s+(USER|ROLE))\b", re.IGNORECASE
)
_OWN = "root@localhost"
_TEMPORARY = re.compile(r"\bTEMPORARY\b", re.IGNORECASE)
_REFUSES = "sql_require_primary_key"
"""The log says it of statements; the definitions of a snapshot are there all the same."""
_READ_ONLY = "/* READ ONLY = 1 */"
"""How the server shows that nothing in a database may be changed: as a comment, which makes nothing."""
_ORDER = ("database", "table", "function", "procedure", "view", "trigger", "event")


class Witnessed(Value):
    """The definitions after the statements, and the words of statements that could not be run like that, in small
    letters: what these name nobody can tell."""

    definitions: tuple[Definition, ...]
    doubtful: frozenset[str]


def witnessed(
    session: Session, base: Iterable[Definition], segments: Sequence[LaneSegment]
) -> Witnessed:  # fmt: skip
    """Run the statements of a lane that change definitions. The server of the session is empty, and is so again
    afterwards."""
    _prepare(session)
    computing = Computing(session)
    doubtful = {name.lower() for name in _create(session, base)}
    for segment, format_description, piece in _pieces(segments):
        texts = [sql for sql in statements_of(piece) if changes_definitions(sql)]
        if not texts or all(_ABOUT_ACCOUNTS.match(sql) for sql in texts):
            continue
        if any(_TEMPORARY.search(sql) for sql in texts) or not _run(
            session, format_description, piece, segment.surroundings, computing
        ):  # fmt: skip
            doubtful |= {word for sql in texts for word in words_of(sql)}
    with _anew(session) as unchanged:
        found = tuple(one for name in databases(unchanged) for one in definitions.of_database(unchanged, name))
        for name in databases(unchanged):
            _drop(unchanged, name)
    return Witnessed(definitions=found, doubtful=frozenset(doubtful))


def witnessed_accounts(
    session: Session, base: Iterable[Definition], segments: Sequence[LaneSegment]
) -> Witnessed:  # fmt: skip
    """The same of accounts, roles and grants. The server of the session is empty, and is thrown away afterwards."""
    _prepare(session)
    # What the session itself is logged in as cannot be made anew.
    doubtful = {_OWN.partition("@")[0]}
    doubtful |= _create_accounts(session, [one for one in base if one.name != _OWN])
    computing = Computing(session)
    for segment, format_description, piece in _pieces(segments):
        texts = [sql for sql in statements_of(piece) if _ABOUT_ACCOUNTS.match(sql)]
        if texts and not _run(session, format_description, piece, segment.surroundings, computing):
            doubtful |= {word for sql in texts for word in words_of(sql)}
    with _anew(session) as unchanged:
        found = tuple(one for one in definitions.of_accounts(unchanged) if one.name != _OWN)
    return Witnessed(definitions=found, doubtful=frozenset(doubtful))


@contextmanager
def _anew(session: Session) -> Iterator[Session]:
    """Another session of the same server: statements of the log leave theirs with their own character set, SQL mode,
    and whatever else they were run under."""
    with connect(session.server, session.login) as unchanged:
        _prepare(unchanged)
        yield unchanged


def _drop(session: Session, database: str) -> None:
    """Also where statements of the log have made it read-only."""
    try:
        session.run(f"DROP DATABASE {quoted(database)}")
    except StatementFailed:
        session.run(f"ALTER DATABASE {quoted(database)} READ ONLY = 0")
        session.run(f"DROP DATABASE {quoted(database)}")


def _create_accounts(session: Session, base: Iterable[Definition]) -> set[str]:
    """Accounts first, and those anew that wait for a role, then what is granted to them. Gives the names, in small
    letters, of what the server did not take."""
    lines = [(one.name.rpartition("@")[0].lower(), *one.text.split("\n")) for one in base]
    waiting = [(name, create) for name, create, *_ in lines]
    while waiting:
        refused = [(name, create) for name, create in waiting if not _accepts(session, create)]
        if len(refused) == len(waiting):
            break
        waiting = refused
    refused_grants = {name for name, _, *grants in lines if [one for one in grants if not _accepts(session, one)]}
    return {name for name, _ in waiting} | refused_grants


def _accepts(session: Session, statement: str) -> bool:
    try:
        session.run(statement.encode("utf-8"))
    except StatementFailed:
        return False
    return True


def _prepare(session: Session) -> None:
    """Each statement of a log begins with a session of its own: another one's character set must not read it."""
    session.as_usual()
    session.run("SET SESSION sql_log_bin = 0, foreign_key_checks = 0")
    for name, _ in session.rows(f"SHOW SESSION VARIABLES WHERE Variable_name IN {(*NOT_IN_THE_LOG, _REFUSES)}"):
        session.run(f"SET SESSION {name} = OFF")


def _create(session: Session, base: Iterable[Definition]) -> list[str]:
    """Make everything that the snapshot had. Gives the names of what the server did not take."""
    base = list(base)
    refused = _create_all(session, base)
    for one in base:
        if one.kind == "database" and one.text.endswith(_READ_ONLY):
            session.run(f"ALTER DATABASE {quoted(one.name)} READ ONLY = 1")
    return refused


def _create_all(session: Session, base: Iterable[Definition]) -> list[str]:
    waiting = sorted((one for one in base if one.kind in _ORDER), key=lambda one: _ORDER.index(one.kind))
    while waiting:
        refused = [one for one in waiting if not _takes(session, one)]
        if len(refused) == len(waiting):
            return [one.name for one in refused]
        waiting = refused  # a view of a view, or of a function: the other one is there now
    return []


def _takes(session: Session, one: Definition) -> bool:
    try:
        session.run("SET SESSION sql_mode = '', time_zone = '+00:00'")
        if one.kind != "database":
            session.run(f"USE {quoted(one.database)}")
        if one.kind == "view":
            _create_view(session, one)
        else:
            session.run(one.text.encode("utf-8"))
    except (StatementFailed, UnicodeEncodeError, LookupError):
        return False
    return True


def _create_view(session: Session, one: Definition) -> None:
    """In the character set and collation that it was made in, which belong to it."""
    charset, collation = one.text.rsplit("\n", 2)[1:]
    known = charset_by_name(charset)
    text = _view(one).encode((known.encoding if known else None) or "utf-8")
    session.run("SET SESSION character_set_client = %s, collation_connection = %s", charset, collation)
    try:
        session.run(text)
    finally:
        _prepare(session)


def _view(one: Definition) -> str:
    query, check, definer, security, _, _ = one.text.rsplit("\n", 5)
    user, _, host = definer.rpartition("@")
    option = "" if check == "NONE" else f" WITH {check} CHECK OPTION"
    return (
        f"CREATE DEFINER = {quoted(user)}@{quoted(host)} SQL SECURITY {security}"
        f" VIEW {quoted(one.name)} AS {query}{option}"
    )


def _pieces(segments: Sequence[LaneSegment]) -> Iterator[tuple[LaneSegment, bytes, Piece]]:
    for segment in segments:
        readers = [StreamReader(file) for file in segment.files]
        for chunk in chunks(readers) if readers else ():
            pieces = (piece for piece in chunk.pieces if piece.statement and not piece.xa)
            yield from ((segment, readers[0].format_description, piece) for piece in pieces)


def _run(
    session: Session, format_description: bytes, piece: Piece, surroundings: Surroundings | None, computing: Computing
) -> bool:  # fmt: skip
    """Whether it could be run."""
    _prepare(session)
    try:
        put_on(session, surroundings, computing.zone(surroundings))
        zone = str(session.value("SELECT @@SESSION.time_zone"))
        with rendered(collations_of(session), format_description, piece.events) as statements:
            for one in statements:
                set_stage(session, one, computing.translated(one, surroundings), zone)
                session.run(one.text)
    except (StatementFailed, ValueError):
        session.run("ROLLBACK")
        taken = False
    else:
        session.run("COMMIT")  # a CREATE TABLE ... SELECT is a transaction, whose rows do not matter here
        taken = True
    clear_stage(session, "SYSTEM")
    session.run("SET SESSION foreign_key_checks = 0")
    return taken
