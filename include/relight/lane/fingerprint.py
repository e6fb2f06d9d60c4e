"""A digest of everything that a DDL statement of a lane can change.

DDL commits by itself, so a crash can fall before or after it. It is atomic since MySQL 8.0
(manual, "Atomic Data Definition Statement Support"): if the digest is what it was before the
statement, the statement did not happen, else it did. A statement that leaves the digest as it was
(ANALYZE, FLUSH, CREATE IF NOT EXISTS) can run twice without harm.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from relight.lane.lane_progress import TableName
from relight.server.session import Row, Session

_INNODB = "SELECT name, table_id, n_cols FROM information_schema.innodb_tables WHERE {}"
"""Table ids change with every rebuild, TRUNCATE and EXCHANGE PARTITION, even when nothing else does."""
_OF_TABLES = (
    ("tables", "table_schema", "table_name", "table_type, engine, table_collation, table_comment, create_options"),
    ("columns", "table_schema", "table_name", ("column_name, ordinal_position, column_default, is_nullable,"
     " column_type, collation_name, extra, column_comment, generation_expression")),
    ("statistics", "table_schema", "table_name", ("index_name, seq_in_index, column_name, sub_part, non_unique,"
     " is_visible, expression")),
    ("table_constraints", "constraint_schema", "table_name", "constraint_name, constraint_type, enforced"),
    ("partitions", "table_schema", "table_name", "partition_name, partition_description"),
    ("triggers", "trigger_schema", "event_object_table", "trigger_name, action_order, action_statement, definer"),
)  # fmt: skip
"""What is asked, what names the database and the table in it, and what else is looked at."""
_OF_DATABASES = (
    ("schemata", "schema_name", "default_collation_name"),
    ("views", "table_schema", "table_name, view_definition, definer"),
    ("routines", "routine_schema", "routine_name, routine_type, routine_definition, definer, last_altered"),
    ("events", "event_schema", ("event_name, status, event_definition, execute_at, interval_value, interval_field,"
     " definer, last_altered")),
)  # fmt: skip
_ACCOUNT_TABLES = (
    "user", "db", "tables_priv", "columns_priv", "procs_priv", "global_grants", "role_edges", "default_roles",
    "password_history",
)  # fmt: skip
_OF_PROXIES = (
    "SELECT host, user, proxied_host, proxied_user, with_grant FROM mysql.proxies_priv WHERE grantor <> %s"
    " ORDER BY host, user, proxied_host, proxied_user"
)
LENT = "relight replay"
"""The grantor of a right that a lane lends itself: see :mod:`relight.lane.statements`."""
_OF_NO_DATABASE = (
    "SELECT space, name FROM information_schema.innodb_tablespaces WHERE space_type = 'General' ORDER BY space",
    "SELECT COUNT(*), SUM(srs_id), SUM(CRC32(definition)) FROM information_schema.st_spatial_reference_systems",
)
"""Statements about these tie all lanes (see statement.py), so that no other lane changes them meanwhile."""


def fingerprint(session: Session, databases: Sequence[str], tables: Sequence[TableName] = ()) -> str:
    """SHA-256 over the definitions in the databases; with ``mysql`` among them, over accounts and grants
    too, and over what belongs to no database.

    :param tables: what the statement is about, if it is about tables alone: then only their definitions count.
    """
    digest = hashlib.sha256()
    session.run("SET SESSION information_schema_stats_expiry = 0")
    for rows in _of_tables(session, tables) if tables else _of_databases(session, databases):
        for row in sorted(repr(row) for row in rows):
            digest.update(row.encode("utf-8") + b"\n")
    if "mysql" in databases and not tables:
        accounts = ", ".join(f"mysql.`{table}`" for table in _ACCOUNT_TABLES)
        for query in (f"CHECKSUM TABLE {accounts}", *_OF_NO_DATABASE):
            digest.update(repr(session.rows(query)).encode())
        digest.update(repr(session.rows(_OF_PROXIES, LENT)).encode())
    return digest.hexdigest()


def _of_databases(session: Session, databases: Sequence[str]) -> Iterator[list[Row]]:
    yield _in_innodb(session, [f"^{_as_file_name(database)}/" for database in databases])
    marks = ", ".join(["%s"] * len(databases))
    whole = [(what, schema, f"{table}, {rest}") for what, schema, table, rest in _OF_TABLES]
    for what, schema, rest in (*whole, *_OF_DATABASES):
        select = f"SELECT {schema}, {rest} FROM information_schema.{what}"
        yield session.rows(f"{select} WHERE {schema} IN ({marks})", *databases)


def _of_tables(session: Session, tables: Sequence[TableName]) -> Iterator[list[Row]]:
    yield _in_innodb(session, ["^" + "/".join(map(_as_file_name, name)) + "(#[pP]#.*)?$" for name in tables])
    names = [part for name in tables for part in name]
    for what, schema, table, rest in _OF_TABLES:
        which = " OR ".join([f"({schema} = %s AND {table} = %s)"] * len(tables))
        yield session.rows(f"SELECT {schema}, {table}, {rest} FROM information_schema.{what} WHERE {which}", *names)


def _in_innodb(session: Session, patterns: Sequence[str]) -> list[Row]:
    return session.rows(_INNODB.format(" OR ".join(["REGEXP_LIKE(name, %s, 'c')"] * len(patterns))), *patterns)


def prepared_transactions(session: Session) -> str:
    """Every XA transaction that is prepared: what an XA statement changes. The digest's counterpart for those."""
    return repr(sorted(session.rows("XA RECOVER CONVERT XID")))


def _as_file_name(name: str) -> str:
    """A pattern of a name as InnoDB lists it (manual, "Mapping of Identifiers to File Names"): letters beyond ASCII
    that have two cases are two characters from a table of the server's, others their number."""
    return "".join(map(_as_in_file_name, name))


def _as_in_file_name(character: str) -> str:
    if not character.isascii():
        return f"@({ord(character):04x}|[^/]{{2}})"
    return character if character.isalnum() or character == "_" else f"@{ord(character):04x}"
