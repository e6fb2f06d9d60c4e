"""What Relight changes on a server for good survives a crash, whatever the server's own settings allow to be lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from relight.server.session import Session

_WHOLE = (1, 1)


@contextmanager
def durably(session: Session) -> Iterator[None]:
    """Every commit within is on the disk before the next step; then the server's own settings hold again.

    With ``innodb_flush_log_at_trx_commit`` 0 or 2 and ``sync_binlog`` 0 a server that dies forgets its last second,
    and a step that is marked as done would not be. What was committed before is made durable with it: there is one
    redo log.
    """
    before = session.row("SELECT @@GLOBAL.innodb_flush_log_at_trx_commit, @@GLOBAL.sync_binlog")
    _set(session, *_WHOLE)
    yield  # where it fails the step is done again, and until then the safer settings do no harm
    _set(session, *before)


def _set(session: Session, flush: object, sync: object) -> None:
    session.run("SET GLOBAL innodb_flush_log_at_trx_commit = %s", flush)
    session.run("SET GLOBAL sync_binlog = %s", sync)
