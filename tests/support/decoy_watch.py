"""The decoy of a whole run of the tests: a run that it heard of anything in has failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from tests.support.decoy import PLACES, PORT, Decoy, Visit

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter


class DecoyWatch:
    """A plugin for the process that starts the workers; there the decoy lives, once for all of them."""

    def __init__(self, places: Sequence[str] = PLACES, port: int = PORT) -> None:
        self._where = (places, port)
        self._decoy: Decoy | None = None
        self._visits: list[Visit] = []

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Listen, before any test."""
        if not session.config.option.collectonly:
            self._decoy = Decoy.at(*self._where)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Fail a run that would have passed; what failed, or was interrupted, stays what it is."""
        if self._decoy is None:
            return
        self._visits = self._decoy.close()
        if self._visits and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """Say who came, and where nobody could be noticed."""
        if self._visits:
            terminalreporter.section("the decoy was visited", red=True)
            for visit in self._visits:
                terminalreporter.line(str(visit), red=True)
            terminalreporter.line(
                "No test and nothing that is tested has a reason to go there. Which host or port was left out?",
                red=True,
            )
        for why in self._decoy.absent if self._decoy else ():
            terminalreporter.line(f"no decoy at {why}: who goes there was not noticed", yellow=True)
