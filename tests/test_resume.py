"""A restore that was interrupted anywhere goes on when the same command is given again, and ends as if it never was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from relight import recover as story
from relight.recover import STEPS, recover
from relight.server.table_checksums import checksums
from relight.site import Site
from tests.support.promoting import assert_history, lose
from tests.support.servers import Servers, kill

RESTORE = tuple(dict.fromkeys(one.__name__ for one in STEPS if one.__name__ not in ("drill", "tear_down")))
"""The functions of the story that a restore calls."""


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("whole_machine", [False, True], ids=["the process", "the whole machine"])
def test_killed_behind_every_step_in_turn_it_goes_on_until_it_is_done(
    servers: Servers, site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch, whole_machine: bool
) -> None:
    lost = lose(servers, site)
    for name in RESTORE:
        with monkeypatch.context() as patch:
            real = getattr(story, name)

            def dying(*args: Any, real: Callable[..., Any] = real, **kwargs: Any) -> None:
                real(*args, **kwargs)
                raise Killed

            patch.setattr(story, name, dying)
            with pytest.raises(Killed):
                recover(lost.site, lost.run)
        if whole_machine:
            for server in (lost.source, *lost.replicas):
                kill(server)
    assert recover(lost.site, lost.run).outcome == "done"
    assert lost.is_open()
    with servers.connect(lost.source) as session:
        assert checksums(session) == lost.sums
        assert_history(session, lost.gtids)
