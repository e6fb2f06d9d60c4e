"""Constants of the binary log format, version 4.

Source: the MySQL internals documentation, "Replication Protocol: Binlog Event", and the public
header ``binlog_event.h`` that it describes.
"""

from __future__ import annotations

import struct

MAGIC = b"\xfebin"
ENCRYPTED_MAGIC = b"\xfdbin"

HEADER = struct.Struct("<IBIIIH")
"""Timestamp, type, server id, event size, end position, flags."""
HEADER_SIZE = 19
CHECKSUM_SIZE = 4
CHECKSUM_OFF = 0
CHECKSUM_CRC32 = 1

# Event types
START_V3 = 1
"""What a log of a server before 5.0 begins with."""
QUERY = 2
STOP = 3
ROTATE = 4
INTVAR = 5
APPEND_BLOCK = 9
DELETE_FILE = 11
RAND = 13
USER_VAR = 14
FORMAT_DESCRIPTION = 15
XID = 16
BEGIN_LOAD_QUERY = 17
EXECUTE_LOAD_QUERY = 18
TABLE_MAP = 19
WRITE_ROWS_V1 = 23
UPDATE_ROWS_V1 = 24
DELETE_ROWS_V1 = 25
INCIDENT = 26
HEARTBEAT = 27
IGNORABLE = 28
ROWS_QUERY = 29
WRITE_ROWS = 30
UPDATE_ROWS = 31
DELETE_ROWS = 32
GTID = 33
ANONYMOUS_GTID = 34
PREVIOUS_GTIDS = 35
TRANSACTION_CONTEXT = 36
VIEW_CHANGE = 37
XA_PREPARE = 38
PARTIAL_UPDATE_ROWS = 39
TRANSACTION_PAYLOAD = 40
HEARTBEAT_V2 = 41
GTID_TAGGED = 42

INSERTS = frozenset({WRITE_ROWS_V1, WRITE_ROWS})
DELETES = frozenset({DELETE_ROWS_V1, DELETE_ROWS})
UPDATES = frozenset({UPDATE_ROWS_V1, UPDATE_ROWS, PARTIAL_UPDATE_ROWS})
ROWS = INSERTS | DELETES | UPDATES
ROWS_V1 = frozenset({WRITE_ROWS_V1, UPDATE_ROWS_V1, DELETE_ROWS_V1})
STATEMENT_CONTEXT = frozenset({INTVAR, RAND, USER_VAR})
"""Events that set the stage for the query that follows."""
LOAD_DATA = frozenset({APPEND_BLOCK, DELETE_FILE, BEGIN_LOAD_QUERY, EXECUTE_LOAD_QUERY})
"""A LOAD DATA in statement format: the file in blocks, then the statement."""
NOT_ABOUT_DATA = frozenset(
    {ROWS_QUERY, IGNORABLE, HEARTBEAT, HEARTBEAT_V2, TRANSACTION_CONTEXT, VIEW_CHANGE, PREVIOUS_GTIDS}
)
"""Events that change nothing."""

NAMES = {
    value: name
    for name, value in list(globals().items())
    if name.isupper() and isinstance(value, int) and not name.startswith(("HEADER", "CHECKSUM"))
}

# Header flags
IN_USE = 0x01
"""On a format description event: the file was not closed cleanly."""
RELAY_LOG = 0x40
"""On a format description event: a replica wrote the file, with what it received."""
MAY_BE_IGNORED = 0x80

# Flags of a rows event
STATEMENT_END = 0x01
"""The last rows event of a statement."""
NO_FOREIGN_KEY_CHECKS = 0x02
RELAXED_UNIQUE_CHECKS = 0x04
COMPLETE_ROWS = 0x08
"""Set by servers before 5.1.20 and by some since; says nothing about how to apply them."""
USE_SQL_FOREIGN_KEY = 0x10
"""Written by servers whose SQL layer enforces foreign keys: every change that a cascade made is in the log."""

EXTRA_PARTITION = 1
"""Type of the extra information in a rows event that names the partition (worklog 12080)."""

# Status variables of a query event (Query_event::Query_event_post_header)
Q_FLAGS2, Q_SQL_MODE, Q_CATALOG, Q_AUTO_INCREMENT, Q_CHARSET, Q_TIME_ZONE, Q_CATALOG_NZ, Q_LC_TIME_NAMES = range(8)
Q_CHARSET_DATABASE, Q_TABLE_MAP_FOR_UPDATE, Q_MASTER_DATA_WRITTEN, Q_INVOKER, Q_UPDATED_DB_NAMES = range(8, 13)
Q_MICROSECONDS = 13
Q_EXPLICIT_DEFAULTS_FOR_TIMESTAMP, Q_DDL_LOGGED_WITH_XID, Q_DEFAULT_COLLATION_FOR_UTF8MB4 = 16, 17, 18
Q_SQL_REQUIRE_PRIMARY_KEY, Q_DEFAULT_TABLE_ENCRYPTION, Q_ENABLE_CASCADE_TRIGGERS = 19, 20, 21
MAX_UPDATED_DBS = 254
"""Stands in place of a count: more databases than fit."""

# Column types, as in the type bytes of a table map
T_TINY, T_SHORT, T_LONG, T_FLOAT, T_DOUBLE, T_NULL, T_TIMESTAMP, T_LONGLONG, T_INT24 = (1, 2, 3, 4, 5, 6, 7, 8, 9)
T_DATE, T_TIME, T_DATETIME, T_YEAR, T_NEWDATE, T_VARCHAR, T_BIT = (10, 11, 12, 13, 14, 15, 16)
T_TIMESTAMP2, T_DATETIME2, T_TIME2 = 17, 18, 19
T_VECTOR, T_BOOL, T_JSON, T_NEWDECIMAL, T_ENUM, T_SET = 242, 244, 245, 246, 247, 248
T_TINY_BLOB, T_MEDIUM_BLOB, T_LONG_BLOB, T_BLOB, T_VAR_STRING, T_STRING, T_GEOMETRY = (
    249,
    250,
    251,
    252,
    253,
    254,
    255,
)


def type_name(event_type: int) -> str:
    """The name of an event type, for messages."""
    return NAMES.get(event_type, f"type {event_type}")
