"""The person who decides whether a shard is opened: asked before anything is signed, with the verdicts in view."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param

from relight.certificate import approval
from relight.errors import PromotionRefused
from relight.run_files import Judgement
from relight.site import Run
from relight_airflow.failures import plain_errors
from relight_airflow.notify import Waiting
from relight_airflow.operators import CHECK, StepOperator
from relight_airflow.place import fleet
from relight_airflow.request import optional_text, said

PROMOTE, KEEP_CLOSED = "Promote", "Keep closed"
_MOST_SHOWN = 200


def answer_params() -> dict[str, Param]:
    """What the person fills in, besides the choice: the operator's ``params``."""
    return {
        # Airflow wants a value before anybody could give one, and lets nobody answer without one that may not be null.
        # "Keep closed" needs none, so whether there is one is looked at in the answer.
        "reason": optional_text("Why", f"Stands in the certificate, beside your name. '{KEEP_CLOSED}' needs none.")
    }


class ApproveOperator(HITLOperator):
    """Waits for a person if the tier's policy (``tiers[].approval``) wants one, and holds no worker meanwhile.

    Nobody is asked in a rehearsal, which is never promoted. Who does not answer in time has not approved.

    :param judgement: the task whose result is the judgement.
    :param plan: the task whose summary is the plan's.
    """

    def __init__(self, *, judgement: str, plan: str, timeout: timedelta = timedelta(days=2), **kwargs: Any) -> None:
        super().__init__(
            subject="May this shard be opened?", options=[PROMOTE, KEEP_CLOSED],
            defaults=KEEP_CLOSED, response_timeout=timeout,
            notifiers=[Waiting()], **kwargs,
        )  # fmt: skip
        self.judgement = judgement
        self.plan = plan

    def execute(self, context: Any) -> Any:
        """Ask, or go on at once where there is nothing to ask: then the result is empty."""
        ti = context["ti"]
        run = Run.model_validate(ti.xcom_pull(task_ids=CHECK))
        judgement = Judgement.model_validate(ti.xcom_pull(task_ids=self.judgement))
        with plain_errors(self.log):
            here = fleet()
            policy = here.tier_of(run.shard_of(here)).approval
        doubts = bool(judgement.inconclusive)
        if run.mode != "promote" or not approval.asked(policy, doubts=doubts, named=bool(run.approved_by)):
            self.log.info("nobody is asked: the policy is %s, the verdict %s", policy, judgement.verdict)
            return {}
        self.body = question(run, judgement, ti.xcom_pull(task_ids=self.plan, key="summary"))
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> dict[str, str]:
        """Who approved and why. The task fails if nobody did."""
        answer = super().execute_complete(context, event)
        who = (answer["responded_by_user"] or {}).get("name") or ""
        reason = said(answer["params_input"], "reason")
        run = Run.model_validate(context["ti"].xcom_pull(task_ids=CHECK))
        with plain_errors(self.log):
            if answer["chosen_options"] == [PROMOTE] and not reason:
                raise PromotionRefused(
                    "the promotion was approved without a reason", on=run.shard, why=f"{who} gave none",
                    hint="the server stays closed; clear this task to ask again",
                )  # fmt: skip
            if answer["chosen_options"] != [PROMOTE] or not who:
                raise PromotionRefused(
                    "the promotion was not approved", on=run.shard,
                    why=f"{who}: {reason or 'no reason was given'}" if who else "nobody answered in time",
                    hint="the server stays closed; clear this task to ask again",
                )  # fmt: skip
        return {"approved_by": who, "approval_reason": reason}


def question(run: Run, judgement: Judgement, plan: Mapping[str, Any]) -> str:
    """What the person reads, as Markdown. ``plan``: a summary of step ``plan``."""
    begins = f"Shard **{_as_text(run.shard)}** was rebuilt, and nothing was found to be wrong. It is still closed."
    ends = f"**{PROMOTE}** signs the certificate with your name and opens the server. **{KEEP_CLOSED}** does not."
    parts = [[begins], _facts(run, judgement, plan), _databases(judgement), _doubts(judgement.inconclusive), [ends]]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _facts(run: Run, judgement: Judgement, plan: Mapping[str, Any]) -> list[str]:
    lost = f"what was committed in the {plan['data_loss_window_s']:,.1f} s before the plan was made, if anything was"
    rows = {
        "restored to": _as_text(str(run.target)),
        "reaches": _as_text(str(plan["reaches"])),
        "is lost": _as_text(lost),
        "verdict": f"{judgement.verdict}: {judgement.tables:,} tables, {judgement.rows:,} rows",
        "requested by": _as_text(run.requested_by or "unknown"),
    }
    return ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items())]


def _databases(judgement: Judgement) -> list[str]:
    names = ("database", "tables", "match", "mismatch", "inconclusive", "rows")
    lines = [f"| {' | '.join(names)} |", "| --- |" + " ---: |" * (len(names) - 1)]
    for one in judgement.databases:
        counts = (one.tables, one.match, one.mismatch, one.inconclusive, one.rows)
        lines.append(f"| {_as_text(one.database)} | {' | '.join(f'{count:,}' for count in counts)} |")
    shown = sum(one.tables for one in judgement.databases)
    if shown < judgement.tables:
        lines += ["", f"and {judgement.tables - shown:,} tables of further databases: the report has them all"]
    return lines if judgement.databases else []


def _doubts(doubts: tuple[str, ...]) -> list[str]:
    if not doubts:
        return []
    shown = [f"- {_as_text(one)}" for one in doubts[:_MOST_SHOWN]]
    more = [f"- and {len(doubts) - _MOST_SHOWN} more"] if len(doubts) > _MOST_SHOWN else []
    return ["Of this neither backup nor log can tell whether it is right:", "", *shown, *more]


def _as_text(text: str) -> str:
    """Names of tables are full of what Markdown takes for emphasis."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()#+-.!|<>~" else c for c in text)


class CertifyOperator(StepOperator):
    """The step that signs, with the name of whoever approved in a task before it.

    :param approval: that task.
    """

    def __init__(self, *, approval: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.approval = approval

    def run_of(self, ti: Any) -> Run:
        """The run as it was asked for, and who approved since."""
        return super().run_of(ti).model_copy(update=ti.xcom_pull(task_ids=self.approval))
