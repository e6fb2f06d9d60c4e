"""The question that an inconclusive verdict puts to a person, and what follows from the answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.airflow.fleets import fleet

RUN = {"run_id": "r", "shard": "shard-1", "target": {"kind": "latest"}, "mode": "promote"}
DOUBT = "shop.orders: a statement changed it (expected None, counted 3)"


class Task:
    """Stands for the task instance: gives what the tasks before it gave."""

    def __init__(self, **results: Any) -> None:
        self._results = results

    def xcom_pull(self, *, task_ids: str, key: str = "") -> Any:
        return self._results.get(task_ids)


def judged(*doubts: str) -> dict[str, Any]:
    databases = [{"database": "a_b", "match": 2, "inconclusive": len(doubts), "rows": 4200}]
    return {
        "verdict": "inconclusive" if doubts else "match", "tables": 2 + len(doubts), "rows": 4200,
        "inconclusive": doubts, "gtids": "", "databases": databases,
    }  # fmt: skip


PLAN = {"reaches": "2026-11-24T03:04:05Z", "data_loss_window_s": 312.44}


def operator() -> Any:
    from relight_airflow.approval import ApproveOperator, answer_params

    return ApproveOperator(task_id="approve", judgement="judge", plan="plan", params=answer_params())


def answer(option: str, user: dict[str, str] | None, reason: str | None = "seen by eye") -> Any:
    context = {"ti": Task(check=RUN)}
    event = {
        "chosen_options": [option], "params_input": {"reason": reason} if user else {}, "responded_by_user": user,
        "responded_at": datetime(2026, 11, 24, tzinfo=UTC), "timedout": user is None,
    }  # fmt: skip
    return operator().execute_complete(context, event)


class Waits(BaseException):
    """The operator asks, and gives its worker back."""


@pytest.fixture
def asks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """What becomes of a judgement under a policy: the result, or the question."""
    from airflow.providers.standard.operators.hitl import HITLOperator

    def waits(_self: Any, _context: Any) -> None:
        raise Waits

    monkeypatch.setattr(HITLOperator, "execute", waits)
    file = tmp_path / "fleet.yaml"
    monkeypatch.setenv("RELIGHT_FLEET", str(file))

    def under(policy: str, judgement: dict[str, Any], **changed: str) -> Any:
        document = fleet("shard-1").model_dump(mode="json", exclude_none=True)
        document["tiers"] = [{"tier": 1, "approval": policy}]
        file.write_text(yaml.safe_dump(document), encoding="utf-8")
        asking = operator()
        try:
            return asking.execute({"ti": Task(check={**RUN, **changed}, judge=judgement, plan=PLAN)})
        except Waits:
            return asking.body

    return under


@pytest.mark.parametrize(
    ("policy", "changed", "doubts"),
    [
        ("on_inconclusive", {}, []), ("on_inconclusive", {"approved_by": "Ada"}, [DOUBT]),
        ("always", {"mode": "rehearse"}, [DOUBT]), ("never", {}, [DOUBT]),
    ],
    ids=["no doubt", "approved in the request", "a rehearsal", "the policy is never"],
)  # fmt: skip
def test_nobody_is_asked_where_there_is_nothing_to_decide(
    asks: Any, policy: str, changed: dict[str, str], doubts: list[str]
) -> None:
    assert asks(policy, judged(*doubts), **changed) == {}


def test_a_doubt_is_shown_and_names_are_not_taken_for_markup(asks: Any) -> None:
    text = asks("on_inconclusive", judged("a.under_score_s: *all* rows", DOUBT))
    assert "a\\.under\\_score\\_s: \\*all\\* rows" in text
    assert "counted 3" in text


def test_where_the_policy_is_always_a_person_sees_the_verdicts_also_without_a_doubt(asks: Any) -> None:
    text = asks("always", judged(), approved_by="whoever asked for it")
    assert "| a\\_b | 2 | 2 | 0 | 0 | 4,200 |" in text
    assert "312\\.4 s before the plan was made" in text
    assert "2026\\-11\\-24T03:04:05Z" in text
    assert "neither backup nor log" not in text


def test_who_approves_and_why_goes_on_to_the_certificate() -> None:
    assert answer("Promote", {"id": "7", "name": "Ada"}) == {"approved_by": "Ada", "approval_reason": "seen by eye"}


@pytest.mark.parametrize(("option", "user"), [("Keep closed", {"id": "7", "name": "Ada"}), ("Keep closed", None)])
def test_a_refusal_and_no_answer_both_keep_the_server_closed(option: str, user: dict[str, str] | None) -> None:
    from relight_airflow.failures import FailedForGood

    with pytest.raises(FailedForGood, match="was not approved") as caught:
        answer(option, user)
    assert ("nobody answered" in str(caught.value)) == (user is None)


@pytest.mark.parametrize("reason", [None, "", " "], ids=["null", "empty", "blanks"])
def test_a_refusal_needs_no_reason(reason: str | None) -> None:
    from relight_airflow.failures import FailedForGood

    with pytest.raises(FailedForGood, match="Ada: no reason was given"):
        answer("Keep closed", {"id": "7", "name": "Ada"}, reason=reason)


def test_an_approval_without_a_reason_is_none() -> None:
    from relight_airflow.failures import FailedForGood

    with pytest.raises(FailedForGood, match="without a reason"):
        answer("Promote", {"id": "7", "name": "Ada"}, reason="  ")


def test_the_task_starts_before_anybody_has_filled_in_the_form() -> None:
    assert operator().params.validate() == {"reason": ""}


def test_the_signature_has_the_name_of_who_approved() -> None:
    from relight_airflow.approval import CertifyOperator

    certify = CertifyOperator(task_id="certify", step="not.used", approval="approve")
    approved = {"approved_by": "Ada", "approval_reason": "seen by eye"}
    assert certify.run_of(Task(check=RUN, approve=approved)).approved_by == "Ada"
    assert certify.run_of(Task(check=RUN, approve={})).approved_by == ""
