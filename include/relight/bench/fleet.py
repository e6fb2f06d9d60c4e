"""``relight bench fleet``: a real Airflow restores a fleet that does not exist, with the real ``restore_fleet``."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from relight.bench.fleet_made_up import MadeUp, keep_manifests, made_up, made_up_fleet
from relight.bench.fleet_results import FleetBench, answers, ideal, most_at_once
from relight.credentials import EnvironmentCredentials
from relight.errors import LabError
from relight.fleet import StoreSettings
from relight.lab import s3
from relight.lab.airflow import LabAirflow
from relight.lab.airflow_client import AirflowClient, RunState
from relight.lab.executors import Local
from relight.lab.place import Place
from relight.lab.services import Services
from relight.lab.state import State
from relight.store.s3 import open_store

Say = Callable[[str], None]

_INCIDENT = "simulated"
_PAGE = 100


@dataclass(frozen=True)
class FleetSize:
    """What is simulated. ``speedup``: the steps sleep so many times shorter than they are thought to take.
    ``services``: Airflow's database is their PostgreSQL; otherwise it is SQLite."""

    shards: int
    databases: int
    at_once: int
    speedup: float
    services: Services | None = None


def run_fleet(folder: Path, size: FleetSize, say: Say) -> FleetBench:
    """Set everything up below ``folder``, restore the fleet, and tell what it took.

    :raises LabError: Airflow or the store do not come up, or the run fails.
    """
    shards = made_up(size.shards, speedup=size.speedup)
    with _world(folder, shards, size, say) as client:
        say(f"restoring {size.shards} shards, {size.at_once} at once")
        client.unpause("restore")
        run_id = client.trigger("restore_fleet", {"incident": _INCIDENT, "pattern": "*"})
        times: dict[str, list[float]] = {}
        run = _watch(client, run_id, times, say)
        return _found(client, run, shards, size, times)


@contextmanager
def _world(folder: Path, shards: list[MadeUp], size: FleetSize, say: Say) -> Iterator[AirflowClient]:
    place, ports = Place(folder), s3.choose_ports()
    state = State(place.state_file)
    login = s3.make_login()
    try:
        server = s3.start(state, "s3", place.s3, login, "made-up", ports)
        settings = StoreSettings(bucket=server.bucket, endpoint=server.endpoint)
        fleet = made_up_fleet(shards, settings, at_once=size.at_once)
        place.fleet_file.write_text(fleet.model_dump_json(exclude_none=True), encoding="utf-8")  # JSON is YAML
        keep_manifests(open_store(settings, login), shards, databases=size.databases)
        airflow = _airflow(place, shards, EnvironmentCredentials(_environment(login)), size)
        say("starting Airflow")
        try:
            client = airflow.start()
            yield client
            client.close()
        finally:
            airflow.stop()
    finally:
        s3.stop(state, "s3")
        s3.remove_sockets(ports)


def _airflow(place: Place, shards: list[MadeUp], credentials: EnvironmentCredentials, size: FleetSize) -> LabAirflow:
    project = Path(__file__).resolve().parents[3]
    dags = place.root / "dags"
    dags.mkdir()
    shutil.copy(project / "plugins" / "relight_airflow" / "simulated_dag.py", dags / "restore.py")
    shutil.copy(project / "dags" / "restore_fleet.py", dags)
    times = place.root / "times.json"
    times.write_text(json.dumps({one.shard: one.seconds for one in shards}), encoding="utf-8")
    # Tasks that sleep need no core: so all restores may sleep, and the conductor still finds room.
    return LabAirflow(
        place, project, credentials, parallel=size.at_once + 2, executor=Local(size.services), dags_folder=dags,
        dags=("restore", "restore_fleet"), settings={"RELIGHT_SIMULATED_TIMES": str(times)},
    )  # fmt: skip


def _environment(login: Any) -> dict[str, str]:
    """Logins of servers that do not exist, and of the store."""
    known = {"ADMIN": ("nobody", "none"), "REPLICATION": ("nobody", "none"), "CERTIFICATE": ("nobody", "none")}
    known["STORE"] = (login.user, login.password)
    return {
        f"RELIGHT_{purpose}_{part}": value
        for purpose, pair in known.items()
        for part, value in zip(("USER", "PASSWORD"), pair, strict=True)
    }


def _watch(client: AirflowClient, run_id: str, times: dict[str, list[float]], say: Say) -> RunState:
    """Until the run is over; meanwhile the calls that a page would make are timed."""
    told = 0
    while True:
        run = client.run("restore_fleet", run_id)
        if run.over:
            return run
        _timed(times, "100 runs", lambda: client.send("GET", "/api/v2/dags/restore/dagRuns?limit=100"))
        _timed(times, "one run", lambda: client.send("GET", f"/api/v2/dags/restore_fleet/dagRuns/{run_id}"))
        ended = _timed(times, "count", lambda: client.send("GET", "/api/v2/dags/restore/dagRuns?limit=1&state=success"))
        if ended["total_entries"] // 25 > told:
            told = ended["total_entries"] // 25
            say(f"{ended['total_entries']} restored")
        time.sleep(2)


def _timed(times: dict[str, list[float]], what: str, call: Callable[[], Any]) -> Any:
    began = time.perf_counter()
    answer = call()
    times.setdefault(what, []).append(1000 * (time.perf_counter() - began))
    return answer


def _found(
    client: AirflowClient, run: RunState, shards: list[MadeUp], size: FleetSize, times: dict[str, list[float]]
) -> FleetBench:
    runs = [one for begin in range(0, size.shards, _PAGE) for one in _runs(client, begin)]
    states = [one["state"] for one in runs]
    if not runs:
        lines = [line for task in run.failures for line in client.log_tail("restore_fleet", run.run_id, task)]
        raise LabError("nothing was restored", on=run.run_id, why="; ".join(lines[-5:]))
    begun = next(task.end for task in run.tasks if task.task_id == "choose" and task.end)
    spans = [(datetime.fromisoformat(o["start_date"]), datetime.fromisoformat(o["end_date"])) for o in runs]
    in_turn = sorted(shards, key=lambda one: (one.tier, -one.bytes, one.shard))
    pooled = client.send("GET", "/api/v2/dags/restore/dagRuns/~/taskInstances?limit=1&pool=relight_store")
    tasks = client.send("GET", "/api/v2/dags/restore/dagRuns/~/taskInstances?limit=1")
    database = "postgresql" if size.services else "sqlite"
    return FleetBench(
        database=database, shards=size.shards, databases=size.databases, at_once=size.at_once, speedup=size.speedup,
        cores=os.cpu_count() or 1, tasks_per_restore=tasks["total_entries"] // len(runs), done=states.count("success"),
        failed=len(states) - states.count("success"), most_at_once=most_at_once(spans),
        in_store_pool=pooled["total_entries"], wall_s=round((max(end for _, end in spans) - begun).total_seconds(), 3),
        ideal_s=round(ideal((one.total for one in in_turn), size.at_once), 3),
        api={what: answers(taken) for what, taken in times.items()},
    )  # fmt: skip


def _runs(client: AirflowClient, begin: int) -> list[dict[str, Any]]:
    found = client.send("GET", f"/api/v2/dags/restore/dagRuns?limit={_PAGE}&offset={begin}&order_by=id")["dag_runs"]
    return list(found)
