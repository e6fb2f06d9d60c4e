"""What a restore refuses before it touches anything."""

from __future__ import annotations

from typing import Any

import pytest

from relight.errors import FleetError, TargetError
from tests.airflow.fleets import fleet


def read(*, fleet: Any = fleet("shard-1", "shard-2"), mode: str | None = None, **params: Any) -> Any:  # noqa: B008
    from relight_airflow.request import read_request

    given = {"shard": "shard-1", "target_kind": "latest", "target_value": "", "mode": "promote", **params}
    return read_request(fleet, run_id="restore__manual__1", params=given, mode=mode)


def test_a_plain_request_is_a_run() -> None:
    run = read()
    assert (run.shard, str(run.target), run.mode, run.approved_by) == ("shard-1", "latest", "promote", "")


def test_a_time_is_taken_with_its_zone() -> None:
    run = read(target_kind="time", target_value=" 2026-11-22T19:00:00+02:00 ")
    assert str(run.target) == "time:2026-11-22T17:00:00+00:00"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("gtid", "3e11fa47-71ca-11e1-9e33-c80aa9429562:7"),
        ("before", "3e11fa47-71ca-11e1-9e33-c80aa9429562:7"),
        ("before", "3e11fa47-71ca-11e1-9e33-c80aa9429562:night:7"),
        ("position", "binlog.000003:4711"),
        ("position", "3e11fa47-71ca-11e1-9e33-c80aa9429562/binlog.000003:4711"),
    ],
)
def test_a_place_in_the_log_is_taken_as_typed_or_as_pasted_from_the_command_line(kind: str, value: str) -> None:
    assert str(read(target_kind=kind, target_value=f" {value} ").target) == f"{kind}:{value}"
    assert str(read(target_kind=kind, target_value=f"{kind}:{value}").target) == f"{kind}:{value}"


def test_the_form_offers_every_kind_of_target() -> None:
    from relight.planning.target import Target
    from relight_airflow.request import target_params

    kinds = Target.model_json_schema()["properties"]["kind"]["enum"]
    assert target_params()["target_kind"].schema["enum"] == kinds


def test_an_unknown_shard_is_refused_with_those_there_are() -> None:
    with pytest.raises(FleetError, match="shard-1, shard-2"):
        read(shard="shard-9")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("latest", "2026-11-22T19:00:00Z"),
        ("time", ""),
        ("gtid", " "),
        ("time", "yesterday"),
        ("time", "2026-11-22T19:00:00"),
        ("time", "3e11fa47-71ca-11e1-9e33-c80aa9429562:7"),
        ("gtid", "2026-11-22T19:00:00Z"),
        ("before", ""),
        ("before", "binlog.000003:4711"),
        ("position", ""),
        ("position", "binlog.000003"),
        ("position", "3e11fa47-71ca-11e1-9e33-c80aa9429562:7:"),
        ("latest", "latest:x"),
        ("behind", "binlog.000003:4711"),
    ],
)
def test_kind_and_value_that_do_not_go_together_are_refused(kind: str, value: str) -> None:
    with pytest.raises(TargetError):
        read(target_kind=kind, target_value=value)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(FleetError, match="rehears"):
        read(mode="rehears")


def test_a_rehearsal_without_a_scratch_server_is_refused() -> None:
    with pytest.raises(FleetError, match="scratch"):
        read(fleet=fleet("shard-1", scratch=False), mode="rehearse")


def test_a_misspelt_parameter_is_refused() -> None:
    from relight_airflow.request import refuse_unknown

    with pytest.raises(FleetError, match="target_knd"):
        refuse_unknown({"target_knd": "time"}, ["shard", "target_kind"])
    refuse_unknown({"shard": "shard-1"}, ["shard", "target_kind"])


def test_a_kind_of_sabotage_is_taken_as_it_is_called() -> None:
    from relight_airflow.request import read_sabotage

    assert read_sabotage("none") == ()
    assert read_sabotage("flip_bit") == ("flip_bit",)
    with pytest.raises(FleetError, match="drop_row"):
        read_sabotage("drop_rows")


def test_backups_are_of_every_shard_unless_one_is_named() -> None:
    from relight_airflow.request import EVERY, chosen_shards

    assert chosen_shards(fleet("a", "b"), {"shard": EVERY}) == ["a", "b"]
    assert chosen_shards(fleet("a", "b"), {"shard": "b"}) == ["b"]
    with pytest.raises(FleetError):
        chosen_shards(fleet("a", "b"), {"shard": "z"})


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"approved_by": "Ada"}, "there is no reason"),
        ({"approval_reason": "seen"}, "there is no name"),
        ({"approved_by": "Ada", "approval_reason": "seen", "mode": "rehearse"}, "a rehearsal is never promoted"),
    ],
)
def test_an_approval_that_would_count_for_nothing_is_refused(changed: dict[str, str], why: str) -> None:
    with pytest.raises(FleetError, match=why):
        read(**changed)


@pytest.mark.parametrize("nothing", [None, "", " \t\n"], ids=["null", "empty", "blanks"])
def test_what_was_left_empty_says_nothing_whatever_the_form_makes_of_it(nothing: str | None) -> None:
    empty = dict.fromkeys(("target_value", "skip_gtids", "approved_by", "approval_reason", "fleet_run"), nothing)
    run = read(**empty, timeline=None, salvage=None)
    assert (str(run.target), str(run.skip), run.approved_by, run.salvage) == ("latest", "", "", True)
    with pytest.raises(TargetError, match="no time given"):
        read(target_kind="time", target_value=nothing)


def signed_in(**params: Any) -> tuple[str, str]:
    from relight_airflow.request import read_request

    given = {"shard": "shard-1", "target_kind": "latest", "target_value": "", "mode": "promote", **params}
    run = read_request(fleet("shard-1"), run_id="r", params=given, requested_by="ada")
    return run.approved_by, run.approval_reason


def test_an_approval_is_given_by_whoever_is_signed_in_whatever_name_was_typed() -> None:
    assert signed_in(approval_reason="seen") == ("ada", "seen")
    assert signed_in(approval_reason="seen", approved_by=" ada ") == ("ada", "seen")
    assert signed_in(approval_reason="seen", approved_by="the CTO") == ("ada", "seen (on behalf of the CTO)")
    assert read(approval_reason="seen", approved_by="the CTO").approved_by == "the CTO", "no account is known"


def test_transactions_to_leave_out_that_are_none_are_refused() -> None:
    with pytest.raises(TargetError):
        read(skip_gtids="the delete of last night")
    assert str(read(skip_gtids="3e11fa47-71ca-11e1-9e33-c80aa9429562:7").skip).endswith(":7")


def test_there_is_a_limit_to_rehearsals_also_without_a_fleet_file(monkeypatch: pytest.MonkeyPatch) -> None:
    from relight_airflow.request import rehearsals_at_once

    monkeypatch.setenv("RELIGHT_FLEET", "/nowhere/fleet.yaml")
    assert rehearsals_at_once() == 2
