"""What a source does not log, or logs in a way that proves less: asked of the source itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from relight.backups.manifest import FOLDING, LeftOut
from relight.errors import StatementFailed
from relight.server.session import Session

_LACKING = ("1142 ", "1143 ", "1227 ", "1370 ")
"""What the server says to an account that may not ask."""
_SETTINGS = (
    "gtid_mode", "init_connect", "log_replica_updates", "log_slave_updates", "binlog_format", "binlog_row_image",
    "binlog_row_value_options", FOLDING,
)  # fmt: skip
"""As far as the server knows them: some are named otherwise in older versions, or will go."""


def what_is_left_out(session: Session) -> LeftOut:
    """Of the log of the session's server. What its account may not ask is among the gaps: nobody knows then."""
    settings = {str(name): str(value) for name, value in session.rows(
        f"SHOW GLOBAL VARIABLES WHERE Variable_name IN {_SETTINGS}"
    )}  # fmt: skip
    gaps = list(_gaps(settings))
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    try:
        only, without = _filters(session)
    except StatementFailed as error:
        gaps.append(_unknown("which databases the source logs", error))
    try:
        gaps += _unlogged_channels(session, settings)
    except StatementFailed as error:
        gaps.append(_unknown("whether the source receives from another server", error))
    return LeftOut(
        only=only, without=without, gaps=tuple(gaps), notes=tuple(_notes(settings)), exact=settings.get(FOLDING) == "0"
    )


def status_statement(session: Session) -> str:
    """The statement that tells of the log that is being written: its name changed in 8.2."""
    major, minor = (int(part) for part in str(session.value("SELECT VERSION()")).split("-")[0].split(".")[:2])
    return "SHOW BINARY LOG STATUS" if (major, minor) >= (8, 2) else "SHOW MASTER STATUS"


def may_not_ask(error: StatementFailed) -> bool:
    """Whether it is the account's rights that lack."""
    return error.why.startswith(_LACKING)


def _unknown(what: str, error: StatementFailed) -> str:
    """:raises StatementFailed: it is something else than the account's rights."""
    if not may_not_ask(error):
        raise error
    return f"nobody knows {what}, since the account may not ask: {error.why}"


def _filters(session: Session) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The databases of ``binlog-do-db`` and of ``binlog-ignore-db``; only the status of the log tells them."""
    rows = session.rows(status_statement(session))
    return (_listed(rows[0][2]), _listed(rows[0][3])) if rows else ((), ())


def _listed(names: object) -> tuple[str, ...]:
    return tuple(filter(None, str(names or "").split(",")))


def _gaps(settings: Mapping[str, str]) -> Iterator[str]:
    if settings.get("gtid_mode", "ON") != "ON":
        yield "gtid_mode is not ON: transactions without a GTID cannot be told apart, and are not restored"
    if "sql_log_bin" in settings.get("init_connect", "").lower():
        yield "init_connect sets sql_log_bin: what sessions change then is in no log"


def _unlogged_channels(session: Session, settings: Mapping[str, str]) -> list[str]:
    if settings.get("log_replica_updates", settings.get("log_slave_updates", "ON")) == "ON":
        return []
    channels = session.rows("SELECT host FROM performance_schema.replication_connection_configuration WHERE host <> ''")
    return [
        f"log_replica_updates is OFF, and the source receives from {host}: that is in no log of its own"
        for (host,) in channels
    ]


def _notes(settings: Mapping[str, str]) -> Iterator[str]:
    logged, image = settings.get("binlog_format", "ROW"), settings.get("binlog_row_image", "FULL")
    if logged != "ROW":
        yield f"binlog_format is {logged}: what statements change cannot be proved; set it to ROW"
    if image != "FULL":
        yield f"binlog_row_image is {image}: rows are replayed in order and not compared; set it to FULL"
    if options := settings.get("binlog_row_value_options", ""):
        yield f"binlog_row_value_options is {options}: such rows are replayed in order and not compared; set it to ''"
