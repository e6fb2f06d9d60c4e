"""Runs and their tasks, as Airflow's own database knows them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.hitl import HITLDetail
from airflow.models.task_state_store import TaskStateStoreModel
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from sqlalchemy import or_, select, tuple_

from relight.reporting.running import LiveBar, RunNow, TaskNow
from relight_airflow.live import KEY

ACTIVE = ("queued", "running")
RESTORES = ("restore", "rehearse")
_MOST = 1000
_STILL_SHOWN = timedelta(hours=2)
"""A run that is over is of interest for so long, and for as long as an older one goes on."""

_RUN: tuple[Any, ...] = (
    DagRun.dag_id,
    DagRun.run_id,
    DagRun.conf,
    DagRun.state,
    DagRun.queued_at,
    DagRun.start_date,
    DagRun.end_date,
)
_TASK: tuple[Any, ...] = (
    TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.id, TaskInstance.task_id, TaskInstance.map_index,
    TaskInstance.rendered_map_index, TaskInstance.state, TaskInstance.start_date, TaskInstance.end_date,
    TaskInstance.try_number,
)  # fmt: skip

_Key = tuple[str, str]


def recent_runs(dags: Sequence[str], now: datetime) -> list[RunNow]:
    """Restores that go on, and those that were over lately. ``dags``: what the person may see."""
    wanted = [dag for dag in RESTORES if dag in dags]
    with create_session() as session:
        going_on = select(DagRun.start_date).where(DagRun.dag_id.in_(wanted), DagRun.state.in_(ACTIVE))
        oldest = min((start for start in session.scalars(going_on) if start), default=now)
        since = min(oldest, now - _STILL_SHOWN)
        mine = select(*_RUN).where(
            DagRun.dag_id.in_(wanted), or_(DagRun.state.in_(ACTIVE), DagRun.end_date >= since)
        ).order_by(DagRun.id.desc()).limit(_MOST)  # fmt: skip
        return _read(session, session.execute(mine).all())


def one_run(dag_id: str, run_id: str) -> RunNow | None:
    """One run; None where there is none of a shard."""
    with create_session() as session:
        mine = select(*_RUN).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        return next(iter(_read(session, session.execute(mine).all())), None)


def _read(session: Any, rows: Sequence[Any]) -> list[RunNow]:
    keys = [(row[0], row[1]) for row in rows]
    tasks = _tasks(session, keys)
    return [
        RunNow(
            dag=dag, run=run, shard=str(conf["shard"]), state=str(state), queued=_utc(queued), started=_utc(started),
            mode="rehearse" if dag == "rehearse" else str(conf.get("mode") or "promote"),
            target=f"{conf.get('target_kind') or 'latest'} {conf.get('target_value') or ''}".strip(), ended=_utc(ended),
            tasks=tuple(tasks[dag, run]),
        )
        for dag, run, conf, state, queued, started, ended in rows
        if isinstance(conf, dict) and conf.get("shard")
    ]  # fmt: skip


def _tasks(session: Any, keys: Sequence[_Key]) -> dict[_Key, list[TaskNow]]:
    of_runs = tuple_(TaskInstance.dag_id, TaskInstance.run_id).in_(keys)
    waiting = set(session.scalars(
        select(HITLDetail.ti_id).join(TaskInstance, TaskInstance.id == HITLDetail.ti_id)
        .where(of_runs, HITLDetail.responded_at.is_(None), TaskInstance.state.in_(("awaiting_input", "deferred")))
    ))  # fmt: skip
    bars = _bars(session, keys)
    found: dict[_Key, list[TaskNow]] = defaultdict(list)
    for dag, run, ti, task, index, part, state, started, ended, tries in session.execute(select(*_TASK).where(of_runs)):
        found[dag, run].append(TaskNow(
            task=task, index=index, part=part or "", state=str(state or "none"), started=_utc(started),
            ended=_utc(ended), tries=tries, waits=ti in waiting, bars=bars.get((dag, run, task, index), ()),
        ))  # fmt: skip
    return found


def _bars(session: Any, keys: Sequence[_Key]) -> dict[tuple[str, str, str, int], tuple[LiveBar, ...]]:
    kept = TaskStateStoreModel
    rows = session.execute(
        select(kept.dag_id, kept.run_id, kept.task_id, kept.map_index, kept.value)
        .where(kept.key == KEY, tuple_(kept.dag_id, kept.run_id).in_(keys))
    )  # fmt: skip
    return {(dag, run, task, index): _read_bars(value) for dag, run, task, index, value in rows}


def _read_bars(value: str) -> tuple[LiveBar, ...]:
    told = json.loads(value)
    if not isinstance(told, dict) or "bars" not in told:
        return ()  # kept elsewhere, by a state store of the installation's own
    return tuple(LiveBar(**bar, at=told["at"]) for bar in told["bars"])


def _utc(time: datetime | None) -> datetime | None:
    return time.astimezone(UTC) if time else None
