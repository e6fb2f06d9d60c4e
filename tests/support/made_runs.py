"""Restores that seem to go on: the rows that Airflow would have in its database if it had started them.

The runs themselves are real ones, of a paused DAG; their tasks' states are made up, so that a page with hundreds of them
can be looked at without hundreds of servers.
"""

from __future__ import annotations

import json
import random
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

from relight_airflow.live import KEY

ORDER = ("check", "salvage", "plan", "guard", "restore_snapshot", "plan_lanes", "split", "replay", "replay_put_off",
         "databases", "validate", "judge", "approve", "certify", "promote", "announce", "replicas", "report")  # fmt: skip


def pretend(database: Path, runs: list[tuple[str, str]], seed: int = 3) -> dict[str, str]:
    """Make these queued runs (id, shard) look as if they were at work; gives what became of each.

    Of ten: one waits for a person, one has failed, one is queued, one is done, and six are somewhere on the way.
    """
    draw, now, fates = random.Random(seed), datetime.now(UTC), {}
    with sqlite3.connect(database, timeout=30) as db:
        for number, (run_id, _) in enumerate(runs):
            fate = ("waiting", "failed", "queued", "success")[number % 10] if number % 10 < 4 else "running"
            fates[run_id] = fate
            if fate != "queued":
                _one(db, run_id, fate, now - timedelta(seconds=draw.uniform(60, 900)), now, draw)
    return fates


def _one(db: sqlite3.Connection, run_id: str, fate: str, began: datetime, now: datetime, draw: random.Random) -> None:
    reached = {"waiting": "approve", "failed": "guard", "success": "report"}.get(
        fate, draw.choice(["restore_snapshot", "replay", "replay", "validate", "replicas"])
    )
    through = ORDER[: ORDER.index(reached)]
    ended = fate in ("failed", "success")
    state = {"failed": "failed", "success": "success"}.get(fate, "running")
    _set(db, "dag_run", run_id, state=state, start_date=_text(began), end_date=_text(now) if ended else None)
    step = (now - began) / (len(through) + 1)
    for place, task in enumerate(through):
        times = {"start_date": _text(began + place * step), "end_date": _text(began + (place + 0.9) * step)}
        _set(db, "task_instance", run_id, task, state="success", try_number=1, **times)
    last = {"waiting": "awaiting_input", "failed": "failed", "success": "success"}.get(fate, "running")
    _set(
        db, "task_instance", run_id, reached, state=last, try_number=1, start_date=_text(now - step),
        end_date=_text(now) if ended else None,
    )  # fmt: skip
    if fate == "waiting":
        _ask(db, run_id, now)
    if fate == "running":
        _bars(db, run_id, reached, now, draw)


def _set(db: sqlite3.Connection, table: str, run_id: str, task: str = "", **values: object) -> None:
    assigned = ", ".join(f"{name} = ?" for name in values)
    where = "run_id = ?" + (" AND task_id = ?" if task else "")
    db.execute(f"UPDATE {table} SET {assigned} WHERE {where}", [*values.values(), run_id, *([task] if task else [])])


def _ask(db: sqlite3.Connection, run_id: str, now: datetime) -> None:
    (ti,) = db.execute("SELECT id FROM task_instance WHERE run_id = ? AND task_id = 'approve'", [run_id]).fetchone()
    db.execute(
        "INSERT INTO hitl_detail (ti_id, options, subject, body, defaults, multiple, params, assignees, created_at, params_input)"
        " VALUES (?, ?, ?, 'One table is inconclusive.', ?, 0, '{}', '[]', ?, '{}')",
        [ti, json.dumps(["Promote", "Keep closed"]), "May this shard be promoted?", '["Keep closed"]', _text(now)],
    )


def _bars(db: sqlite3.Connection, run_id: str, task: str, now: datetime, draw: random.Random) -> None:
    labels = ["orders", "accounts", "media"] if task == "replay" else ["snapshot"]
    bars = []
    for label in labels:
        total = draw.randrange(10**9, 10**11)
        speed = draw.randrange(10**7, 2 * 10**8)
        bars.append({"label": label, "done": int(total * draw.uniform(0.02, 0.98)), "total": total, "speed": speed})
    value = json.dumps({"at": now.isoformat(), "bars": bars})
    run, dag = db.execute("SELECT id, dag_id FROM dag_run WHERE run_id = ?", [run_id]).fetchone()
    db.execute(
        "INSERT INTO task_state_store (dag_run_id, dag_id, run_id, task_id, map_index, key, value, updated_at) "
        "VALUES (?, ?, ?, ?, -1, ?, ?, ?)", [run, dag, run_id, task, KEY, value, _text(now)],
    )  # fmt: skip


def _text(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S.%f")
