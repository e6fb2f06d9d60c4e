"""Settings of a server while it is being loaded that need not survive a restart."""

from __future__ import annotations

from relight.server.session import Session


def tune_for_loading(session: Session) -> None:
    """Make the server write rows as fast as it can; its restart at promotion puts everything back.

    Changes of secondary indexes go to their pages at once: replay comes back to most of them, so that putting
    changes by in the change buffer costs more than reading the page (measured: it took more than half of the
    time that an update needs).
    """
    if session.rows("SHOW GLOBAL VARIABLES LIKE 'innodb_change_buffering'"):
        session.run("SET GLOBAL innodb_change_buffering = 'none'")
