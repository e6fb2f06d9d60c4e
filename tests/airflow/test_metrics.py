"""What a monitoring system receives: a real socket, and Airflow's own StatsD client."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from relight.fleet import Fleet, StoreSettings, Tier
from relight.lab.s3 import S3Server
from relight.lab.template import Logins
from relight.overview.metrics import METRICS, of_result
from relight.store.s3 import open_store
from tests.airflow.conftest import PROJECT
from tests.airflow.fleets import fleet
from tests.conftest import environment_of
from tests.overview import made

DASHBOARD = PROJECT / "include" / "deploy" / "grafana" / "relight.json"

# As Airflow's task runner does it: settings, Stats, then the operator of the DAG.
RUNS_A_TASK = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils
stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
bag = DagBag(dag_folder=sys.argv[1])
assert not bag.import_errors, bag.import_errors
print("RESULT", json.dumps(bag.dags["fleet_overview"].get_task("look").execute({})))
"""


class Receiver:
    """A StatsD server, as far as listening goes. It reads all the time, as a full buffer loses what comes next."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._lines: list[str] = []
        self.port = self._socket.getsockname()[1]
        self._thread = Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while datagram := self._socket.recv(65536):
            lines = datagram.decode().splitlines()
            self._lines += [line for line in lines if line.startswith("airflow.relight.")]

    def received(self) -> list[str]:
        """Everything that has come in so far about Relight."""
        time.sleep(0.2)  # for what is on its way
        return list(self._lines)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made_receiver = Receiver()
    yield made_receiver
    made_receiver.close()


def settings(receiver: Receiver, *, tags: bool) -> dict[str, str]:
    return {
        "AIRFLOW__METRICS__STATSD_ON": "True", "AIRFLOW__METRICS__STATSD_PORT": str(receiver.port),
        "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1", "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": str(tags),
    }  # fmt: skip


@pytest.fixture
def environment(tmp_path: Path, store_settings: StoreSettings, s3_server: S3Server, logins: Logins) -> dict[str, str]:
    """A fleet of two shards, one of which has never been backed up, and Airflow's Connection to its store."""
    shards = fleet("shard-1", "shard-2").shards
    known = Fleet(fleet="test", store=store_settings, shards=shards, tiers=(Tier(tier=1, objective_minutes=60),))
    made.in_order(open_store(store_settings, s3_server.login), "shard-1")
    file = tmp_path / "fleet.yaml"
    file.write_text(yaml.safe_dump(known.model_dump(mode="json", exclude_none=True)), encoding="utf-8")
    login = {"conn_type": "aws", "login": s3_server.login.user, "password": s3_server.login.password}
    return {
        **os.environ, **environment_of(logins, s3_server.login), "RELIGHT_FLEET": str(file),
        "AIRFLOW_CONN_RELIGHT_STORE": json.dumps(login),
        "PYTHONPATH": os.pathsep.join([str(PROJECT / "plugins"), os.environ.get("PYTHONPATH", "")]),
    }  # fmt: skip


def looked(environment: dict[str, str]) -> dict[str, Any]:
    """Runs the task of DAG fleet_overview in a process of its own; gives its result."""
    done = subprocess.run(
        [sys.executable, "-c", RUNS_A_TASK, str(PROJECT / "dags")], env=environment, text=True, capture_output=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return dict(json.loads(line.removeprefix("RESULT ")))


def values(lines: list[str]) -> dict[str, float]:
    return {line.split(":")[0]: float(line.split(":")[1].split("|")[0]) for line in lines}


def test_a_look_at_the_fleet_sends_every_number_with_shard_and_tier(
    environment: dict[str, str], receiver: Receiver
) -> None:
    result = looked({**environment, **settings(receiver, tags=True)})
    assert (result["shards"], result["bad"]) == (2, 1)
    found = values(receiver.received())
    tagged = "airflow.relight.shard.{},shard=shard-1,tier=1"
    assert 60 <= found[tagged.format("data_loss_window_seconds")] < 300
    assert 3 * 86400 <= found[tagged.format("proof_age_seconds")] < 3 * 86400 + 300
    assert 6 * 3600 <= found[tagged.format("full_backup_age_seconds")] < 6 * 3600 + 300
    assert found[tagged.format("objective_seconds")] == 3600
    assert found[tagged.format("forecast_seconds")] > 10
    assert found["airflow.relight.fleet.shards,health=bad"] == 1
    assert "airflow.relight.shard.full_backup_age_seconds,shard=shard-2,tier=1" not in found, "it has none"


def test_without_tags_shards_are_told_apart_by_the_name(environment: dict[str, str], receiver: Receiver) -> None:
    looked({**environment, **settings(receiver, tags=False)})
    found = values(receiver.received())
    assert found["airflow.relight.shard.objective_seconds.shard-1.1"] == 3600
    assert found["airflow.relight.shard.objective_seconds.shard-2.1"] == 3600
    assert found["airflow.relight.fleet.shards.bad"] == 1


RESULTS = {
    "ship_segments": {"loss_window_seconds": 12.5},
    "replay_group": {"number": 3, "bytes": 1000, "seconds": 2.0},
    "validate_database": {"matches": 5, "mismatches": [{}], "inconclusive": [{}, {}]},
    "write_report": {"seconds": 71.5, "outcome": "done", "data_loss_window_s": 33.0},
}


def test_a_run_sends_throughput_duration_and_verdicts(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics import stats_utils

    from relight.overview.metrics import of_miss
    from relight_airflow.metrics import emit

    for name, value in settings(receiver, tags=True).items():
        monkeypatch.setenv(name, value)
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
    try:
        for step, result in RESULTS.items():
            emit(of_result(step, result, shard="shard-1", tier=2, mode="promote"))
        emit([of_miss("shard-1", 2)])
    finally:
        stats.initialize(factory=NoStatsLogger, export_legacy_names=False)
    tags = "shard=shard-1,tier=2"
    assert receiver.received() == [
        f"airflow.relight.shard.unshipped_seconds,{tags}:12.5|g",
        f"airflow.relight.lane.bytes_per_second,{tags},mode=promote,group=3:500.0|g",
        f"airflow.relight.verdicts,{tags},mode=promote,verdict=match:5|c",
        f"airflow.relight.verdicts,{tags},mode=promote,verdict=mismatch:1|c",
        f"airflow.relight.verdicts,{tags},mode=promote,verdict=inconclusive:2|c",
        f"airflow.relight.run.seconds,{tags},mode=promote,outcome=done:71.5|g",
        f"airflow.relight.run.data_loss_window_seconds,{tags},mode=promote:33.0|g",
        f"airflow.relight.promises.predicted_to_miss,{tags}:1|c",
    ]


def queried() -> set[str]:
    """The metrics that the dashboard asks for."""
    text = DASHBOARD.read_text(encoding="utf-8")
    return set(re.findall(r"airflow_relight_\w+", text))


def test_the_dashboard_asks_for_metrics_that_there_are_and_for_each_of_them() -> None:
    assert queried() == {"airflow_" + name.replace(".", "_") for name in METRICS}


def test_the_dashboard_is_one_that_grafana_can_lay_out() -> None:
    document = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = document["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 8
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        cells = {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert panel["description"]
        assert all(target["expr"].count("(") == target["expr"].count(")") for target in panel["targets"])
    assert {one["name"] for one in document["templating"]["list"]} == {"datasource", "tier", "shard"}


@pytest.mark.parametrize("metric", ["forecast_seconds", "run_seconds"])
def test_the_objective_is_a_line_in_the_panels_of_how_long_it_takes(metric: str) -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    asked = [[target["expr"] for target in panel["targets"]] for panel in panels if len(panel["targets"]) == 2]
    assert any(metric in first and "objective_seconds" in second for first, second in asked)
