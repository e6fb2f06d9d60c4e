"""What the server's result of a statement depends on, and its query event does not say.

Of a statement the log keeps (libs/mysql/binlog/event, ``Query_event``): flags (foreign key and unique checks,
auto-commit, NULL as auto-increment), SQL mode, character sets and collations, default database, time zone by its name,
locale, auto-increment steps, the moment, random seeds and user variables, defaults for TIMESTAMP, for utf8mb4 and for
encryption, whether a primary key is asked for, and who it was. Everything else is what the server was set to.
"""

from __future__ import annotations

from collections.abc import Mapping

from relight.backups.manifest import FOLDING, Surroundings
from relight.server.session import Session
from relight.server.zone import system_zone

IN_NO_LOG: Mapping[str, str] = {
    "default_week_format": "WEEK() without a mode, EXTRACT(WEEK FROM ...)",
    "div_precision_increment": "how many digits a division gives",
    "block_encryption_mode": "AES_ENCRYPT(), AES_DECRYPT()",
    "group_concat_max_len": "where GROUP_CONCAT() is cut off, in statements that are logged as such",
    "windowing_use_high_precision": "sums over windows of rows, in statements that are logged as such",
    "default_storage_engine": "the engine of a table whose CREATE TABLE names none",
    "default_tmp_storage_engine": "the same of temporary tables",
    "time_zone": "rows do not say theirs, and their stored columns are computed again as they are written",
    "sql_mode": "the same: CAST('2026-00-00' AS DATE) is NULL under one, and a date under another",
}
"""Settings that change what a statement makes, and why. Tried on 9.7 with statements that a source logs.

A session may have had its own value, which nobody can know any more: a replica computes with its own too. What the
source's sessions begin with is the best there is; see :mod:`relight.verify.computed` for what is doubted all the same.

Not among them, since they only make a server refuse what another has taken: ``NOT_IN_THE_LOG`` of
:mod:`relight.lane.statements`, limits (recursion, regular expressions, join sizes). Not among them, since the size that
a replay needs forbids it: ``max_allowed_packet``, beyond which functions give NULL where the SQL mode is not strict.
"""


def read_surroundings(session: Session) -> Surroundings:
    """Those of the session's server."""
    names = (*IN_NO_LOG, FOLDING)
    marks = ", ".join(["%s"] * len(names))
    rows = session.rows(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({marks})", *names)
    return Surroundings(
        server_uuid=str(session.value("SELECT @@server_uuid")),
        variables={str(name): str(value) for name, value in rows}, zone=system_zone(session),
    )  # fmt: skip


def put_on(session: Session, surroundings: Surroundings | None, zone: str | None) -> None:
    """Let the session compute as sessions of that server begin to. What this server does not know, it has not.

    :param zone: the time zone that they begin in, under the name that it has here; None: under none.
    :raises StatementFailed: it knows the setting, and cannot be set like that: an engine that it lacks.
    """
    if surroundings is None:
        return
    if zone is not None:
        session.run("SET SESSION time_zone = %s", zone)
    marks = ", ".join(["%s"] * len(IN_NO_LOG))
    for name, here in session.rows(f"SHOW SESSION VARIABLES WHERE Variable_name IN ({marks})", *IN_NO_LOG):
        value = surroundings.variables.get(str(name), str(here))
        if value != str(here) and name != "time_zone":
            session.run(f"SET SESSION {name} = %s", int(value) if value.isdigit() else value)
