"""A digest of everything that a DDL statement of a lane can change.

DDL commits by itself, so a crash can fall before or after it. It is atomic since MySQL 8.0
(manual, "Atomic Data Definition Statement Support"): if the digest is what it was before the
statement, the statement did not happen, else it did. A statement that leaves the digest as it was
(ANALYZE, FLUSH, CREATE IF NOT EXISTS) can run twice without harm.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from relight.server.session import Session

_QUERIES = (
    # Table ids change with every rebuild, TRUNCATE and EXCHANGE PARTITION, even when nothing else does.
    "SELECT name, table_id, n_cols FROM information_schema.innodb_tables WHERE SUBSTRING_INDEX(name, '/', 1) IN ({})",
    "SELECT schema_name, default_collation_name FROM information_schema.schemata WHERE schema_name IN ({})",
    (
        "SELECT table_schema, table_name, table_type, engine, table_collation, table_comment, create_options"
        " FROM information_schema.tables WHERE table_schema IN ({})"
    ),
    (
        "SELECT table_schema, table_name, column_name, ordinal_position, column_default, is_nullable, column_type,"
        " collation_name, extra, column_comment, generation_expression"
        " FROM information_schema.columns WHERE table_schema IN ({})"
    ),
    (
        "SELECT table_schema, table_name, index_name, seq_in_index, column_name, sub_part, non_unique, is_visible,"
        " expression FROM information_schema.statistics WHERE table_schema IN ({})"
    ),
    (
        "SELECT constraint_schema, constraint_name, table_name, constraint_type, enforced"
        " FROM information_schema.table_constraints WHERE constraint_schema IN ({})"
    ),
    (
        "SELECT table_schema, table_name, partition_name, partition_description"
        " FROM information_schema.partitions WHERE table_schema IN ({})"
    ),
    (
        "SELECT table_schema, table_name, view_definition, definer"
        " FROM information_schema.views WHERE table_schema IN ({})"
    ),
    (
        "SELECT routine_schema, routine_name, routine_type, routine_definition, definer, last_altered"
        " FROM information_schema.routines WHERE routine_schema IN ({})"
    ),
    (
        "SELECT trigger_schema, trigger_name, event_object_table, action_order, action_statement, definer"
        " FROM information_schema.triggers WHERE trigger_schema IN ({})"
    ),
    (
        "SELECT event_schema, event_name, status, event_definition, execute_at, interval_value, interval_field,"
        " definer, last_altered FROM information_schema.events WHERE event_schema IN ({})"
    ),
)
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


def fingerprint(session: Session, databases: Sequence[str]) -> str:
    """SHA-256 over the definitions in the databases; with ``mysql`` among them, over accounts and grants
    too, and over what belongs to no database."""
    digest = hashlib.sha256()
    marks = ", ".join(["%s"] * len(databases))
    session.run("SET SESSION information_schema_stats_expiry = 0")
    for query in _QUERIES:
        names = [_as_file_name(d) for d in databases] if "innodb_tables" in query else databases
        rows = session.rows(query.format(marks), *names)
        for row in sorted(repr(row) for row in rows):
            digest.update(row.encode("utf-8") + b"\n")
    if "mysql" in databases:
        tables = ", ".join(f"mysql.`{table}`" for table in _ACCOUNT_TABLES)
        for query in (f"CHECKSUM TABLE {tables}", *_OF_NO_DATABASE):
            digest.update(repr(session.rows(query)).encode())
        digest.update(repr(session.rows(_OF_PROXIES, LENT)).encode())
    return digest.hexdigest()


def prepared_transactions(session: Session) -> str:
    """Every XA transaction that is prepared: what an XA statement changes. The digest's counterpart for those."""
    return repr(sorted(session.rows("XA RECOVER CONVERT XID")))


def _as_file_name(database: str) -> str:
    """A database's name as InnoDB lists it (manual, "Mapping of Identifiers to File Names")."""
    return "".join(c if c.isascii() and (c.isalnum() or c == "_") else f"@{ord(c):04x}" for c in database)
