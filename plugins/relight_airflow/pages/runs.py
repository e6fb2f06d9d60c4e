"""Runs and their tasks, as Airflow's own database knows them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.hitl import HITLDetail
from airflow.models.task_state_store import TaskStateStoreModel
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from sqlalchemy import or_, select, tuple_

from relight.reporting.running import LiveBar, RunNow, TaskNow
from relight_airflow.live import ERROR, KEY
from relight_airflow.request import said

ACTIVE = ("queued", "running")
RESTORES = ("restore", "rehearse")
_MOST = 1000
_FAILED = ("failed", "up_for_retry")
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


def paused_dags(*dags: str) -> dict[str, bool]:
    """Those of these DAGs that Airflow knows, and whether each is paused."""
    wanted = select(DagModel.dag_id, DagModel.is_paused).where(DagModel.dag_id.in_(dags), DagModel.is_stale.is_(False))
    with create_session() as session:
        return {str(dag): bool(paused) for dag, paused in session.execute(wanted)}


def is_paused(dag: str) -> bool:
    """Whether its runs wait until somebody unpauses it."""
    return paused_dags(dag).get(dag, False)


def restoring(dags: Sequence[str]) -> dict[str, str]:
    """By shard, the run (``dag/run``) that brings it back at this moment. ``dags``: what the person may see."""
    if RESTORES[0] not in dags:
        return {}
    mine = select(DagRun.run_id, DagRun.conf).where(DagRun.dag_id == RESTORES[0], DagRun.state.in_(ACTIVE))
    with create_session() as session:
        found = session.execute(mine.order_by(DagRun.id).limit(_MOST)).all()
    return {
        said(conf, "shard"): f"{RESTORES[0]}/{run}" for run, conf in found
        if isinstance(conf, dict) and conf.get("mode") != "rehearse"
    }  # fmt: skip


def one_run(dag_id: str, run_id: str) -> RunNow | None:
    """One run; None where there is none of a shard."""
    if "\x00" in dag_id + run_id:
        return None  # PostgreSQL refuses to be asked
    with create_session() as session:
        mine = select(*_RUN).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        return next(iter(_read(session, session.execute(mine).all())), None)


def _read(session: Any, rows: Sequence[Any]) -> list[RunNow]:
    keys = [(row[0], row[1]) for row in rows]
    tasks = _tasks(session, keys)
    return [
        RunNow(
            dag=dag, run=run, shard=str(conf["shard"]).strip(), state=str(state), queued=_utc(queued),
            started=_utc(started), mode="rehearse" if dag == "rehearse" else str(conf.get("mode") or "promote"),
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
    kept = _kept(session, keys)
    found: dict[_Key, list[TaskNow]] = defaultdict(list)
    for dag, run, ti, task, index, part, state, started, ended, tries in session.execute(select(*_TASK).where(of_runs)):
        told = kept.get((dag, run, task, index), {})
        # What an earlier try has left of its failure is no matter once another has gone through.
        why = _read_error(told.get(ERROR, "")) if state in _FAILED else {}
        found[dag, run].append(TaskNow(
            task=task, index=index, part=part or "", state=str(state or "none"), started=_utc(started),
            ended=_utc(ended), tries=tries, waits=ti in waiting, bars=_read_bars(told.get(KEY, "")), **why,
        ))  # fmt: skip
    return found


def _kept(session: Any, keys: Sequence[_Key]) -> dict[tuple[str, str, str, int], dict[str, str]]:
    """What tasks have left for the pages, by name."""
    kept = TaskStateStoreModel
    rows = session.execute(
        select(kept.dag_id, kept.run_id, kept.task_id, kept.map_index, kept.key, kept.value)
        .where(kept.key.in_((KEY, ERROR)), tuple_(kept.dag_id, kept.run_id).in_(keys))
    )  # fmt: skip
    found: dict[tuple[str, str, str, int], dict[str, str]] = defaultdict(dict)
    for dag, run, task, index, name, value in rows:
        found[dag, run, task, index][name] = value
    return found


def _read_bars(value: str) -> tuple[LiveBar, ...]:
    told = json.loads(value) if value else None
    if not isinstance(told, dict) or "bars" not in told:
        return ()  # kept elsewhere, by a state store of the installation's own
    return tuple(LiveBar(**bar, at=told["at"]) for bar in told["bars"])


def _read_error(value: str) -> dict[str, str]:
    told = json.loads(value) if value else None
    return {name: str(told.get(name, "")) for name in ("error", "hint")} if isinstance(told, dict) else {}


def _utc(time: datetime | None) -> datetime | None:
    return time.astimezone(UTC) if time else None
