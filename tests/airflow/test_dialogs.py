"""Airflow's own forms in a real Chromium: what people fill in makes the run that they meant."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from relight.lab.airflow import DAGS
from tests.airflow.fleets import fleet
from tests.support.browsing import browser, token, visit
from tests.support.dialogs import PASSWORD, SOON, USER, Desk, Dialog, desk, waiting

pytestmark = pytest.mark.timeout(600)

GTID = "3e11fa47-71ca-11e1-9e33-c80aa9429562:7"
TARGETS = [
    ("time", "2026-11-22T19:00:00Z", "time:2026-11-22T19:00:00+00:00"),
    ("gtid", GTID, f"gtid:{GTID}"),
    ("before", GTID, f"before:{GTID}"),
    ("position", "binlog.000003:4711", "position:binlog.000003:4711"),
]
ASKED_FOR: dict[str, dict[str, Any]] = {
    "restore": {"shard": "shop-2"}, "rehearse": {"shard": "shop-2"}, "restore_fleet": {"incident": "INC 7"},
}  # fmt: skip
"""What has no default, as it is never guessed."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as made:
        yield made


@pytest.fixture(scope="module")
def airflow(watched: Path) -> Iterator[Desk]:
    with desk(watched / "dialogs", fleet("shop-1", "shop-2")) as made:
        yield made


@pytest.fixture(scope="module")
def session(airflow: Desk) -> str:
    return token(airflow.url, USER, PASSWORD)


def submitted(airflow: Desk, dialog: Dialog, dag_id: str) -> dict[str, Any]:
    """Press the button; gives the conf of the run that was made."""
    before = airflow.runs(dag_id)
    expect(dialog.submit).to_be_enabled()
    with dialog.page.expect_response(lambda answer: answer.url.endswith("/dagRuns"), timeout=SOON) as answer:
        dialog.submit.click()
    assert answer.value.ok, answer.value.text()
    (made,) = set(airflow.runs(dag_id)) - set(before)
    return airflow.runs(dag_id)[made]


def fill_in(dialog: Dialog, asked: dict[str, Any]) -> None:
    for name, value in asked.items():
        if name in ("shard", "shards", "target_kind", "mode"):
            dialog.choose(name, value)
        elif isinstance(value, bool):
            dialog.switch(name)
        else:
            dialog.fill(name, str(value))


@pytest.mark.parametrize("touched", [False, True], ids=["untouched", "emptied again"])
@pytest.mark.parametrize("dag_id", DAGS)
def test_every_dag_can_be_triggered_with_its_defaults(
    chromium: Browser, airflow: Desk, session: str, dag_id: str, touched: bool
) -> None:
    with visit(chromium, airflow.url, f"/dags/{dag_id}", session) as opened:
        dialog = Dialog.of(opened.page)
        if touched:
            dialog.change_my_mind()
        fill_in(dialog, ASKED_FOR.get(dag_id, {}))
        conf = submitted(airflow, dialog, dag_id)
    assert {name: conf[name] for name in ASKED_FOR.get(dag_id, {})} == ASKED_FOR.get(dag_id, {})
    if dag_id in ("restore", "rehearse"):
        from relight_airflow.request import read_request

        run = read_request(fleet("shop-1", "shop-2"), run_id="r", params=conf, mode=conf.get("mode", "rehearse"))
        assert (run.shard, str(run.target), str(run.skip), run.approved_by) == ("shop-2", "latest", "", "")


@pytest.mark.parametrize(("kind", "value", "target"), TARGETS, ids=[kind for kind, *_ in TARGETS])
@pytest.mark.parametrize("dag_id", ["restore", "rehearse"])
def test_each_kind_of_target_arrives(
    chromium: Browser, airflow: Desk, session: str, dag_id: str, kind: str, value: str, target: str
) -> None:
    from relight_airflow.request import read_request

    with visit(chromium, airflow.url, f"/dags/{dag_id}", session) as opened:
        dialog = Dialog.of(opened.page)
        fill_in(dialog, {"shard": "shop-1", "target_kind": kind, "target_value": value})
        conf = submitted(airflow, dialog, dag_id)
    run = read_request(fleet("shop-1", "shop-2"), run_id="r", params=conf, mode=conf.get("mode", "rehearse"))
    assert (run.shard, str(run.target)) == ("shop-1", target)


def test_the_restore_of_many_takes_names_a_pattern_a_tier_and_a_time(
    chromium: Browser, airflow: Desk, session: str
) -> None:
    from relight_airflow.fleet_request import read_fleet_request

    asked = {
        "incident": "INC 8", "shards": "shop-2", "pattern": "shop-*", "tier": 1, "target_kind": "time",
        "target_value": "2026-11-22T19:00:00Z", "mode": "rehearse", "salvage": False,
    }  # fmt: skip
    with visit(chromium, airflow.url, "/dags/restore_fleet", session) as opened:
        dialog = Dialog.of(opened.page)
        fill_in(dialog, asked)
        conf = submitted(airflow, dialog, "restore_fleet")
    read = read_fleet_request(fleet("shop-1", "shop-2"), conf)
    assert (read.incident, read.wanted.names, read.wanted.pattern, read.wanted.tier) == (
        "INC-8", ("shop-2",), "shop-*", 1,
    )  # fmt: skip
    assert (str(read.target), read.mode, read.salvage) == ("time:2026-11-22T19:00:00+00:00", "rehearse", False)


def test_everything_that_a_restore_can_be_told_is_told_by_its_dialog(
    chromium: Browser, airflow: Desk, session: str
) -> None:
    from relight_airflow.request import read_request

    asked = {
        "shard": "shop-1", "mode": "promote", "skip_gtids": GTID, "timeline": 3, "salvage": False,
        "approval_reason": "seen by eye",
    }  # fmt: skip
    with visit(chromium, airflow.url, "/dags/restore", session) as opened:
        dialog = Dialog.of(opened.page)
        fill_in(dialog, asked)
        conf = submitted(airflow, dialog, "restore")
    run = read_request(fleet("shop-1", "shop-2"), run_id="r", params=conf, requested_by=USER)
    assert (str(run.skip), run.timeline, run.salvage) == (GTID, 3, False)
    assert (run.approved_by, run.approval_reason) == (USER, "seen by eye")


@pytest.mark.parametrize(
    ("option", "reason"),
    [("Keep closed", ""), ("Keep closed", "not today"), ("Promote", "three rows, as it must be")],
    ids=["refused without a word", "refused with a reason", "approved"],
)
def test_who_is_asked_can_answer(chromium: Browser, airflow: Desk, session: str, option: str, reason: str) -> None:
    run_id = asked_whether_to_open(airflow)
    path = f"/dags/restore/runs/{run_id}/tasks/approve/required_actions"
    with visit(chromium, airflow.url, path, session) as opened:
        button = opened.page.get_by_test_id(f"hitl-option-{option}")
        expect(button).to_be_visible(timeout=SOON)
        if reason:
            opened.page.locator("[name=element_reason]").fill(reason)
        expect(button).to_be_enabled()
        button.click()
        expect(opened.page.get_by_text("Response").first).to_be_visible(timeout=SOON)
        opened.page.wait_for_timeout(500)
    answer = airflow.client.send("GET", f"/api/v2/dags/restore/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails")
    assert answer["chosen_options"] == [option]
    assert (answer["params_input"].get("reason") or "") == reason
    assert answer["responded_by_user"]["name"] == USER


def asked_whether_to_open(airflow: Desk) -> str:
    """A run whose task ``approve`` waits, as far as Airflow's database says; gives its id."""
    from relight_airflow.approval import ApproveOperator, answer_params

    run_id = f"asked-{uuid.uuid4().hex[:8]}"
    body = {"logical_date": None, "dag_run_id": run_id, "conf": {"shard": "shop-1"}}
    airflow.client.send("POST", "/api/v2/dags/restore/dagRuns", body)
    asking = ApproveOperator(task_id="approve", judgement="judge", plan="plan", params=answer_params())
    waiting(airflow.database, run_id, asking)
    return run_id
