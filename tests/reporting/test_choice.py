"""The line of time that can be reached, and plans in a few facts."""

from __future__ import annotations

from datetime import timedelta

import pytest

from relight.errors import TargetError
from relight.planning.resolve import make_plan
from relight.planning.target import Target
from relight.reporting.choice import no_plan, plan_view, reachable
from tests.planning.test_resolve import LOGS, NOW, ONE, WHOLE, at, catalog, plan, snapshot


def test_a_whole_chain_is_one_stretch_to_the_last_commit() -> None:
    line = reachable(WHOLE, NOW)
    assert [(one.begins, one.ends) for one in line.stretches] == [(at(5), at(40))]
    assert line.gaps == ()
    assert [taken for _, taken in line.backups] == [at(5), at(25)]
    assert line.lost is not None
    assert (line.lost.begins, line.lost.ends) == (at(40), NOW)


def test_a_missing_log_is_a_gap_up_to_the_next_full_backup() -> None:
    line = reachable(catalog(ONE, snapshot(28, "a1-28"), LOGS[0], *LOGS[2:]), NOW)
    assert [(one.begins, one.ends) for one in line.stretches] == [(at(5), at(10)), (at(28), at(40))]
    assert [(one.begins, one.ends) for one in line.gaps] == [(at(10), at(28))]
    assert line.stretches[0].left == 0
    assert line.gaps[0].left + line.gaps[0].width < 100


def test_without_a_usable_backup_nothing_can_be_reached() -> None:
    assert reachable(catalog(*LOGS), NOW).begins is None
    assert reachable(catalog(snapshot(5, "a1-5", missing=("x",))), NOW).begins is None


def test_a_plan_says_how_much_would_be_lost() -> None:
    view = plan_view(plan(WHOLE, "latest"), "db-1", None, NOW)
    assert view.reaches == at(40)
    assert view.lost_seconds == (NOW - at(40)).total_seconds()
    assert (view.segments, view.transactions, view.inside) == (2, 15, False)
    assert plan_view(plan(WHOLE, "a35"), "db-1", None, NOW).inside


def test_why_there_is_no_plan_is_told_with_what_helps() -> None:
    with pytest.raises(TargetError) as caught:
        make_plan(WHOLE, Target.parse(f"time:{(NOW + timedelta(days=1)).isoformat()}"), NOW)
    view = no_plan("s", caught.value)
    assert "lies in the future" in view.error
    assert view.hint == "use latest"
