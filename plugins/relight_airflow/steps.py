"""The tasks of the DAGs: the steps of a restore, in the order in which :mod:`relight.recover` runs
them, and those of a backup."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule, chain
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError

from relight_airflow import work
from relight_airflow.approval import ApproveOperator, CertifyOperator, answer_params
from relight_airflow.failures import FailedForGood
from relight_airflow.notify import when_done, when_failed
from relight_airflow.operators import (
    CHECK,
    CheckOperator,
    DatabasesOperator,
    PutOffOperator,
    ReplayOperator,
    StepOperator,
    WatcherOperator,
)
from relight_airflow.overview_operator import OverviewOperator
from relight_airflow.shard_operators import ShardOperator, ShardsOperator, shard_bands
from relight_airflow.turn import TurnOperator

DEFAULTS: dict[str, Any] = {
    "owner": "database operations",
    # For a store, a server or Airflow itself being away for a while, and for a worker that died.
    # Whatever else goes wrong would go wrong again, and fails at once.
    # After 5, 10, 20, 40 and 80 s, each up to twice as long: patience for some minutes, but little for the first
    # time, since who died with its machine has been waited for already.
    "retries": 5,
    "retry_policy": ExceptionRetryPolicy(
        [
            RetryRule(FailedForGood, action=RetryAction.FAIL),
            RetryRule([AirflowException, AirflowRuntimeError, OSError, SystemExit]),
        ],
        default=RetryAction.FAIL,
    ),
    "retry_delay": timedelta(seconds=5),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=5),
}
"""``default_args`` of every DAG."""

TOLD: dict[str, Any] = {"on_success_callback": when_done, "on_failure_callback": when_failed}
"""For DAGs of whose ends people are told: Airflow knows best how a run has ended, also one that somebody has ended."""

REPLAY = "relight.steps.replay.replay_group"
REPLICA = "relight.steps.replicas.rebuild_replica"

LAST_RESORT: dict[str, Any] = {"trigger_rule": "all_done"}
"""For what is done whether or not the steps before succeeded."""


def restore_tasks(*, only_rehearse: bool = False) -> None:
    """Add the tasks of one restore to the current DAG.

    With ``only_rehearse`` the DAG has no task that could promote, whatever its parameters say.
    """
    check = CheckOperator(task_id=CHECK, mode="rehearse" if only_rehearse else None, max_active_tis_per_dag=1)
    salvage = [] if only_rehearse else [_salvage()]
    plan = StepOperator(task_id="plan", step="relight.steps.plan.plan_run", fan_out="segments")
    guard = StepOperator(task_id="guard", step="relight.steps.inspect_target.inspect_target")
    snapshot = StepOperator(task_id="restore_snapshot", step="relight.steps.restore.restore_snapshot")
    lanes = StepOperator(task_id="plan_lanes", step="relight.steps.lanes.plan_lanes", fan_out="lane_groups")
    split = _mapped("split", "relight.steps.split.split_segment", over=plan)
    replay = _mapped("replay", REPLAY, over=lanes, kind=ReplayOperator)
    put_off = PutOffOperator(task_id="replay_put_off", step=REPLAY, results=replay.output)
    databases = DatabasesOperator(task_id="databases", source="plan_lanes")
    validate = _mapped("validate", "relight.steps.validate.validate_database", over=databases)
    judge = StepOperator(task_id="judge", step="relight.steps.judge.judge")
    # A rehearsal is never promoted, so nobody is asked.
    approve = [] if only_rehearse else [_approve(judge, plan)]
    certify = CertifyOperator(task_id="certify", step="relight.steps.certify.certify", approval="approve")
    # Lanes start while later logs are still being split; what they need sooner they split themselves.
    chain(check, *salvage, plan, guard, snapshot, lanes, replay, put_off, validate, judge, *approve, certify)
    chain(lanes, split, validate)
    chain(lanes, databases, validate)

    last = [_drill(after=certify)] if only_rehearse else _promotion(after=certify)
    # The step itself refuses what another run has built, so this may follow a failure.
    tear_down = StepOperator(
        task_id="tear_down", step="relight.steps.teardown.tear_down", modes=("rehearse",), needs="guard", **LAST_RESORT
    )
    report = StepOperator(task_id="report", step="relight.steps.report.write_report", needs="plan", **LAST_RESORT)
    chain(last, tear_down, report)
    # A failure before `last` reaches it as upstream_failed, so these say it all.
    watcher = WatcherOperator(task_id="watcher", trigger_rule="one_failed", retries=0)
    chain([*last, tear_down, report], watcher)


def turn_tasks() -> None:
    """Add the tasks that begin rehearsals to the current DAG: a run of DAG ``rehearse`` for each shard in turn."""
    turn = TurnOperator(task_id="turn")
    each = TriggerDagRunOperator.partial(
        task_id="rehearse", trigger_dag_id="rehearse", map_index_template="{{ task.conf['shard'] }}"
    )
    each.expand(conf=turn.output)


def overview_tasks() -> None:
    """Add the task that looks at the whole fleet to the current DAG."""
    OverviewOperator(task_id="look")


def shard_tasks(task_id: str, step: str) -> None:
    """Add tasks to the current DAG that call ``step`` for every shard: a backup, a look at the fence.

    There is a task per shard, or per some shards of one queue where there are many; and a list of those per thousand.
    """
    for band in range(count := shard_bands()):
        shards = ShardsOperator(task_id=work.with_band("shards", band), band=band, bands=count)
        each = ShardOperator.partial(
            task_id=work.with_band(task_id, band), step=step, map_index_template="{{ task.part }}"
        )
        each.expand_kwargs(shards.output)


def _approve(judge: StepOperator, plan: StepOperator) -> ApproveOperator:
    return ApproveOperator(task_id="approve", judgement=judge.task_id, plan=plan.task_id, params=answer_params())


def _salvage() -> StepOperator:
    return StepOperator(task_id="salvage", step="relight.steps.salvage.salvage", modes=("promote",))


def _drill(*, after: StepOperator) -> StepOperator:
    drill = StepOperator(task_id="drill", step="relight.steps.drill.drill", modes=("rehearse",))
    chain(after, drill)
    return drill


def _promotion(*, after: StepOperator) -> list[StepOperator | MappedOperator]:
    prepare = StepOperator(
        task_id="prepare", step="relight.steps.prepare.prepare", modes=("promote",), fan_out="first_replicas"
    )
    first = _mapped("first_replicas", REPLICA, over=prepare)
    promote = StepOperator(
        task_id="promote", step="relight.steps.promote.promote", modes=("promote",), fan_out="replicas"
    )
    announce = StepOperator(task_id="announce", step="relight.steps.announce.announce", modes=("promote",))
    replicas = _mapped("replicas", REPLICA, over=promote)
    # That somebody cannot be told makes no replica wait.
    chain(after, prepare, first, promote, [announce, replicas])
    return [announce, replicas]


def _mapped(task_id: str, step: str, *, over: Any, kind: type[StepOperator] = StepOperator) -> MappedOperator:
    """A step that is called per segment, lane group, database or replica, each in a task of its own."""
    step_for = kind.partial(task_id=task_id, step=step, map_index_template="{{ task.part }}")
    return step_for.expand_kwargs(over.output)
