"""Restores that seem to go on: the rows that Airflow would have in its database if it had started them.

The runs themselves are real ones, of a paused DAG; their tasks' states are made up, so that a page with hundreds of them
can be looked at without hundreds of servers.
"""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta

from sqlalchemy import JSON, Boolean, Connection, Engine, bindparam, text

from relight_airflow.live import KEY

ORDER = ("check", "salvage", "plan", "guard", "restore_snapshot", "plan_lanes", "split", "replay", "replay_put_off",
         "databases", "validate", "judge", "approve", "certify", "promote", "announce", "replicas", "report")  # fmt: skip


def pretend(database: Engine, runs: list[tuple[str, str]], seed: int = 3) -> dict[str, str]:
    """Make these queued runs (id, shard) look as if they were at work; gives what became of each.

    Of ten: one waits for a person, one has failed, one is queued, one is done, and six are somewhere on the way.
    """
    draw, now, fates = random.Random(seed), datetime.now(UTC), {}
    with database.begin() as db:
        for number, (run_id, _) in enumerate(runs):
            fate = ("waiting", "failed", "queued", "success")[number % 10] if number % 10 < 4 else "running"
            fates[run_id] = fate
            if fate != "queued":
                _one(db, run_id, fate, now - timedelta(seconds=draw.uniform(60, 900)), now, draw)
    return fates


def _one(db: Connection, run_id: str, fate: str, began: datetime, now: datetime, draw: random.Random) -> None:
    reached = {"waiting": "approve", "failed": "guard", "success": "report"}.get(
        fate, draw.choice(["restore_snapshot", "replay", "replay", "validate", "replicas"])
    )
    through = ORDER[: ORDER.index(reached)]
    ended = fate in ("failed", "success")
    state = {"failed": "failed", "success": "success"}.get(fate, "running")
    _set(db, "dag_run", run_id, state=state, start_date=_at(began), end_date=_at(now) if ended else None)
    step = (now - began) / (len(through) + 1)
    for place, task in enumerate(through):
        times = {"start_date": _at(began + place * step), "end_date": _at(began + (place + 0.9) * step)}
        _set(db, "task_instance", run_id, task, state="success", try_number=1, **times)
    last = {"waiting": "awaiting_input", "failed": "failed", "success": "success"}.get(fate, "running")
    _set(
        db, "task_instance", run_id, reached, state=last, try_number=1, start_date=_at(now - step),
        end_date=_at(now) if ended else None,
    )  # fmt: skip
    if fate == "waiting":
        _ask(db, run_id, now)
    if fate == "running":
        _bars(db, run_id, reached, now, draw)


def _set(db: Connection, table: str, run_id: str, task: str = "", **values: object) -> None:
    assigned = ", ".join(f"{name} = :{name}" for name in values)
    where = "run_id = :run_id" + (" AND task_id = :task" if task else "")
    db.execute(text(f"UPDATE {table} SET {assigned} WHERE {where}"), {**values, "run_id": run_id, "task": task})


def _ask(db: Connection, run_id: str, now: datetime) -> None:
    db.execute(
        text(
            "INSERT INTO hitl_detail (ti_id, options, subject, body, defaults, multiple, params, assignees, created_at, "
            "params_input) SELECT id, :options, 'May this shard be promoted?', 'One table is inconclusive.', :defaults, "
            ":multiple, '{}', '[]', :at, '{}' FROM task_instance WHERE run_id = :run_id AND task_id = 'approve'"
        ).bindparams(
            bindparam("options", type_=JSON), bindparam("defaults", type_=JSON), bindparam("multiple", type_=Boolean)
        ),
        {
            "options": ["Promote", "Keep closed"], "defaults": ["Keep closed"], "multiple": False, "at": _at(now),
            "run_id": run_id,
        },
    )  # fmt: skip


def _bars(db: Connection, run_id: str, task: str, now: datetime, draw: random.Random) -> None:
    labels = ["orders", "accounts", "media"] if task == "replay" else ["snapshot"]
    bars = []
    for label in labels:
        total = draw.randrange(10**9, 10**11)
        speed = draw.randrange(10**7, 2 * 10**8)
        bars.append({"label": label, "done": int(total * draw.uniform(0.02, 0.98)), "total": total, "speed": speed})
    db.execute(
        text(
            "INSERT INTO task_state_store (dag_run_id, dag_id, run_id, task_id, map_index, key, value, updated_at) "
            "SELECT id, dag_id, run_id, :task, -1, :key, :value, :at FROM dag_run WHERE run_id = :run_id"
        ),
        {
            "task": task, "key": KEY, "value": json.dumps({"at": now.isoformat(), "bars": bars}), "at": _at(now),
            "run_id": run_id,
        },
    )  # fmt: skip


def _at(time: datetime) -> str:
    """As both SQLite and PostgreSQL take it."""
    return time.strftime("%Y-%m-%d %H:%M:%S.%f")
