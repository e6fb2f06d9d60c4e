"""The demo: lose a shard and bring it back, on real servers, through Airflow's REST API."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from relight.backups.catalog import load_catalog
from relight.certificate.verifying import verify
from relight.errors import LabError, RelightError
from relight.fleet import Shard
from relight.gtid import GtidSet
from relight.incident.naming import fresh_name
from relight.lab import fleet as lab_fleet
from relight.lab import secrets
from relight.lab.airflow import LabAirflow
from relight.lab.airflow_client import AirflowClient, RunState
from relight.lab.ledger import LedgerVerdict, check_ledger
from relight.lab.place import Place
from relight.lab.schema import DATABASES
from relight.lab.workload import Pace, Workload
from relight.lane import lane_progress
from relight.progress import Progress
from relight.proof import keys_trusted_here
from relight.reporting.report import Report
from relight.server.session import connect
from relight.site import Site

_WRITES = 4000
"""Commits per shard before the full backup, between it and each shipping of logs, and after the last one."""
_STEPS_SHOWN = ("plan", "guard", "restore_snapshot", "split", "plan_lanes", "replay", "validate", "judge", "certify",
                "prepare", "promote", "replicas", "report")  # fmt: skip


@dataclass(frozen=True)
class DemoResult:
    """What the demo has to show."""

    report: Report
    ledger: LedgerVerdict
    lost_commits: int
    """Acknowledged by the server, but after the last shipping of logs."""
    seconds_to_restore: float
    url: str
    login: tuple[str, str]
    run_page: str
    report_page: str
    page: str
    """Relight's own page of the run."""
    certificate: Path
    """The file, which was checked."""
    certificate_expires: datetime


def run_demo(place: Place, open_site: Callable[[], Site], progress: Progress) -> DemoResult:
    """Set a fleet up, back it up under load, destroy a shard, restore it, check every commit.

    :raises LabError: something is not as it must be; says what.
    """
    progress.say("demo: starting the fleet and its object store")
    fleet = lab_fleet.up(place, progress.say, fresh=True)
    site = open_site()
    progress.say("demo: starting Airflow")
    airflow = LabAirflow.of(place)
    client = airflow.start()
    progress.say(f"demo: Airflow at {client.url}")
    shard = fleet.shards[0]
    _back_up_under_load(place, site, client, progress)
    progress.say(f"demo: {shard.name} is lost: all {len(shard.servers)} mysqld killed, their data directories emptied")
    lab_fleet.destroy(shard)
    shipped = in_store(site, shard)
    started = time.monotonic()
    run = _restore(place, site, shard, client, progress)
    seconds = time.monotonic() - started
    progress.say("demo: writing to the restored shard again")
    _write_again(place, shard)
    verdict = _check(place, site, shard, shipped)
    report = _report(site, client, run)
    certificate = Path(client.xcom("restore", run.run_id, "certify")["file"])
    checked = verify(certificate.read_bytes(), keys_trusted_here(site), datetime.now(UTC))
    return DemoResult(
        report=report[0], ledger=verdict, lost_commits=verdict.beyond, seconds_to_restore=seconds, url=client.url,
        login=airflow.login, run_page=client.run_page("restore", run.run_id), report_page=report[1],
        page=f"{client.url}/relight/run/restore/{run.run_id}",
        certificate=certificate, certificate_expires=checked.expires_at,
    )  # fmt: skip


def _back_up_under_load(place: Place, site: Site, client: AirflowClient, progress: Progress) -> None:
    """Full backups and shipped logs by their DAGs, while applications write, and some writes after that."""
    with _workloads(place, site) as jobs:
        progress.say("demo: applications write, every acknowledged commit goes into a ledger")
        _written(jobs, _WRITES)
        progress.say("demo: full backups (DAG backup_full)")
        _succeed(client, "backup_full", {})
        for _ in range(2):
            _written(jobs, _WRITES)
            progress.say("demo: shipping binary logs (DAG backup_binlogs)")
            _succeed(client, "backup_binlogs", {})
        _written(jobs, _WRITES // 10)
    counts = ", ".join(f"{name} {job.committed:,}" for name, job in jobs.items())
    progress.say(f"demo: commits acknowledged: {counts}")


@contextmanager
def _workloads(place: Place, site: Site) -> Iterator[dict[str, Workload]]:
    jobs = {shard.name: _workload(place, shard) for shard in site.fleet.shards}
    for job in jobs.values():
        job.start()
    try:
        yield jobs
    finally:
        for job in jobs.values():
            job.stop()


def _workload(place: Place, shard: Shard) -> Workload:
    return Workload(
        shard.source, secrets.login(place, "application"), secrets.login(place, "admin"), place.ledger(shard.name),
        pace=Pace(threads=2, rate=400), seed=time.time_ns(),
    )  # fmt: skip


def _written(jobs: dict[str, Workload], more: int) -> None:
    wanted = {name: job.committed + more for name, job in jobs.items()}
    for name, job in jobs.items():
        job.wait_for(wanted[name])


def _write_again(place: Place, shard: Shard) -> None:
    with _workload(place, shard) as job:
        job.wait_for(300)


def in_store(site: Site, shard: Shard) -> GtidSet:
    """Every transaction of a shard that its snapshots and segments hold."""
    catalog = load_catalog(site.store, shard.name)
    sets = [s.reference.gtids for s in catalog.snapshots] + [s.gtids for s in catalog.segments]
    return functools.reduce(GtidSet.__or__, sets, GtidSet())


def _succeed(client: AirflowClient, dag_id: str, conf: dict[str, object]) -> RunState:
    run = client.wait(dag_id, client.trigger(dag_id, conf))
    if run.state != "success":
        raise _failed(client, dag_id, run)
    return run


def _failed(client: AirflowClient, dag_id: str, run: RunState) -> LabError:
    lines = [line for task in run.failures[:1] for line in client.log_tail(dag_id, run.run_id, task, lines=4)]
    names = ", ".join(task.name for task in run.failures) or "no task"
    return LabError(
        f"DAG {dag_id} failed", on=names, why=" | ".join(lines), hint=f"see {client.run_page(dag_id, run.run_id)}"
    )


def _restore(place: Place, site: Site, shard: Shard, client: AirflowClient, progress: Progress) -> RunState:
    run_id = fresh_name("demo")
    progress.say(f"demo: restoring {shard.name} to its latest point (DAG restore, over the REST API)")
    user, password = LabAirflow.of(place).login
    progress.say(f"demo: watch it: {client.url}/relight/incident  user {user}, password {password}")
    client.trigger("restore", {"shard": shard.name, "target_kind": "latest"}, run_id=run_id)
    watch = _Watch(site, shard, progress)
    run = client.wait("restore", run_id, on_update=watch.look, interval=0.5)
    if run.state != "success":
        raise _failed(client, "restore", run)
    return run


class _Watch:
    """Shows which steps are through, and a bar per lane from the rebuilt server's own progress table."""

    def __init__(self, site: Site, shard: Shard, progress: Progress) -> None:
        self._site = site
        self._shard = shard
        self._progress = progress
        self._through: set[str] = set()
        self._lanes: dict[str, int] = {}
        self._began = time.monotonic()

    def look(self, run: RunState) -> None:
        """One look at the run."""
        for step in _STEPS_SHOWN:
            mine = [task for task in run.tasks if task.task_id == step]
            if step not in self._through and mine and all(task.state == "success" for task in mine):
                self._through.add(step)
                parts = f", {len(mine)} tasks" if len(mine) > 1 else ""
                self._progress.say(f"demo: {time.monotonic() - self._began:5.1f} s  {step}{parts}")
        if "plan_lanes" in self._through and "judge" not in self._through:
            self._look_at_lanes()

    def _look_at_lanes(self) -> None:
        try:
            with connect(self._shard.source, self._site.admin, timeout=2) as session:
                states = lane_progress.load_all(session)
        except RelightError:
            return  # promotion has just dropped the table or is restarting the server: nothing left to show
        for state in states:
            if state.lane not in self._lanes:
                self._progress.start(f"lane {state.lane}", state.bytes_total)
                self._lanes[state.lane] = 0
            if state.bytes_done > self._lanes[state.lane]:
                self._progress.advance(f"lane {state.lane}", state.bytes_done - self._lanes[state.lane])
                self._lanes[state.lane] = state.bytes_done


def _check(place: Place, site: Site, shard: Shard, shipped: GtidSet) -> LedgerVerdict:
    """Every shipped commit exactly once, nothing else but what was written since; replicas the same.

    :raises LabError: something is missing, twice there, or should not be there.
    """
    with connect(shard.source, site.admin) as session:
        executed = GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))
        uuid = str(session.value("SELECT @@server_uuid"))
        since = executed - shipped
        if not shipped <= executed or {stream.split(":")[0] for stream in since.streams} != {uuid}:
            raise LabError("the history is not the shipped one", on=shard.name, why=f"{executed} instead of {shipped}")
        verdict = check_ledger(session, place.ledger(shard.name), DATABASES, executed)
    if not verdict.ok:
        raise LabError("the ledger does not agree", on=shard.name, why=str(verdict))
    for replica in shard.replicas:
        with connect(replica, site.admin) as session:
            if session.value("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 60)", str(executed)) != 0:
                raise LabError("a replica does not catch up", on=replica.name)
            copy = check_ledger(session, place.ledger(shard.name), DATABASES, executed)
        if not copy.ok:
            raise LabError("the ledger does not agree", on=replica.name, why=str(copy))
    return verdict


def _report(site: Site, client: AirflowClient, run: RunState) -> tuple[Report, str]:
    summary = client.xcom("restore", run.run_id, "report")
    return Report.model_validate_json(site.store.get(summary["key"])), str(summary["page"])
