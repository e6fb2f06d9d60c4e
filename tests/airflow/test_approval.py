"""The question that an inconclusive verdict puts to a person, and what follows from the answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

RUN = {"run_id": "r", "shard": "shard-1", "target": {"kind": "latest"}, "mode": "promote"}
DOUBT = "shop.orders: a statement changed it (expected None, counted 3)"


class Task:
    """Stands for the task instance: gives what the tasks before it gave."""

    def __init__(self, **results: Any) -> None:
        self._results = results

    def xcom_pull(self, *, task_ids: str) -> Any:
        return self._results.get(task_ids)


def operator() -> Any:
    from relight_airflow.approval import ApproveOperator, answer_params

    return ApproveOperator(task_id="approve", judgement="judge", params=answer_params())


def answer(option: str, user: dict[str, str] | None, reason: str | None = "seen by eye") -> Any:
    context = {"ti": Task(check=RUN)}
    event = {
        "chosen_options": [option], "params_input": {"reason": reason} if user else {}, "responded_by_user": user,
        "responded_at": datetime(2026, 11, 24, tzinfo=UTC), "timedout": user is None,
    }  # fmt: skip
    return operator().execute_complete(context, event)


@pytest.mark.parametrize(
    ("changed", "doubts"),
    [({}, []), ({"approved_by": "Ada"}, [DOUBT]), ({"mode": "rehearse"}, [DOUBT])],
    ids=["no doubt", "approved in the request", "a rehearsal"],
)
def test_nobody_is_asked_where_there_is_nothing_to_decide(changed: dict[str, str], doubts: list[str]) -> None:
    ti = Task(check={**RUN, **changed}, judge={"inconclusive": doubts})
    assert operator().execute({"ti": ti}) == {}


def test_the_question_has_every_doubt_in_it_and_names_are_not_taken_for_markup() -> None:
    from relight_airflow.approval import question

    text = question("shard-1", ["a.under_score_s: *all* rows", DOUBT])
    assert "a\\.under\\_score\\_s: \\*all\\* rows" in text
    assert "counted 3" in text


def test_who_approves_and_why_goes_on_to_the_certificate() -> None:
    assert answer("Promote", {"id": "7", "name": "Ada"}) == {"approved_by": "Ada", "approval_reason": "seen by eye"}


@pytest.mark.parametrize(("option", "user"), [("Keep closed", {"id": "7", "name": "Ada"}), ("Keep closed", None)])
def test_a_refusal_and_no_answer_both_keep_the_server_closed(option: str, user: dict[str, str] | None) -> None:
    from relight_airflow.failures import FailedForGood

    with pytest.raises(FailedForGood, match="was not approved") as caught:
        answer(option, user)
    assert ("nobody answered" in str(caught.value)) == (user is None)


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
