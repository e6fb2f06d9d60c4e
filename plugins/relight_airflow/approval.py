"""The person whom an inconclusive verdict needs: asked before anything is signed, with the list in front of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param

from relight.errors import PromotionRefused
from relight.site import Run
from relight_airflow.failures import plain_errors
from relight_airflow.operators import CHECK, StepOperator

PROMOTE, KEEP_CLOSED = "Promote", "Keep closed"
_MOST_SHOWN = 200


def answer_params() -> dict[str, Param]:
    """What the person fills in, besides the choice: the operator's ``params``."""
    return {
        # Airflow wants a value before anybody could give one, so that there is one is looked at in the answer.
        "reason": Param("", type="string", title="Why", description="Stands in the certificate, beside your name.")
    }


class ApproveOperator(HITLOperator):
    """Waits for a person if the judgement leaves a doubt, and holds no worker meanwhile.

    Nobody is asked in a rehearsal, which is never promoted, nor where the request names who approves. Who does not
    answer in time has not approved.

    :param judgement: the task whose result is the judgement.
    """

    def __init__(self, *, judgement: str, timeout: timedelta = timedelta(days=2), **kwargs: Any) -> None:
        super().__init__(
            subject="Something is inconclusive. May this shard be promoted?", options=[PROMOTE, KEEP_CLOSED],
            defaults=KEEP_CLOSED, response_timeout=timeout,
            **kwargs,
        )  # fmt: skip
        self.judgement = judgement

    def execute(self, context: Any) -> Any:
        """Ask, or go on at once where there is nothing to ask: then the result is empty."""
        ti = context["ti"]
        run = Run.model_validate(ti.xcom_pull(task_ids=CHECK))
        doubts = ti.xcom_pull(task_ids=self.judgement)["inconclusive"]
        if run.mode != "promote" or run.approved_by or not doubts:
            self.log.info("nobody needs to be asked")
            return {}
        self.body = question(run.shard, doubts)
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> dict[str, str]:
        """Who approved and why. The task fails if nobody did."""
        answer = super().execute_complete(context, event)
        who = (answer["responded_by_user"] or {}).get("name") or ""
        reason = str(answer["params_input"].get("reason") or "").strip()
        run = Run.model_validate(context["ti"].xcom_pull(task_ids=CHECK))
        with plain_errors(self.log):
            if answer["chosen_options"] == [PROMOTE] and not reason:
                raise PromotionRefused(
                    "what is inconclusive was approved without a reason", on=run.shard, why=f"{who} gave none",
                    hint="the server stays closed; clear this task to ask again",
                )  # fmt: skip
            if answer["chosen_options"] != [PROMOTE] or not who:
                raise PromotionRefused(
                    "what is inconclusive was not approved", on=run.shard,
                    why=f"{who}: {reason or 'no reason was given'}" if who else "nobody answered in time",
                    hint="the server stays closed; clear this task to ask again",
                )  # fmt: skip
        return {"approved_by": who, "approval_reason": reason}


def question(shard: str, doubts: list[str]) -> str:
    """What the person reads, as Markdown."""
    shown = [f"- {_as_text(one)}" for one in doubts[:_MOST_SHOWN]]
    more = [f"- and {len(doubts) - _MOST_SHOWN} more"] if len(doubts) > _MOST_SHOWN else []
    begins = (
        f"Shard **{_as_text(shard)}** was rebuilt. Nothing was found to be wrong, but of this neither backup nor log "
        "can tell whether it is right:"
    )
    ends = f"**{PROMOTE}** signs the certificate with your name and opens the server. **{KEEP_CLOSED}** does not."
    return "\n".join([begins, "", *shown, *more, "", ends])


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
