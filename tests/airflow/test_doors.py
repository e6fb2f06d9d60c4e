"""The doors of a real Airflow: the command, curl, what each role may do, the person who is asked, who is told of it.

The tests of this file build on one another: a lost shard of a tier whose every promotion needs a person is restored by
the command, as an account that may not do more than that.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from relight.airflow_api.client import AirflowApi
from relight.certificate.document import SignedCertificate
from relight.credentials import EnvironmentCredentials, Login
from relight.errors import AirflowRefused
from relight.fleet import Fleet, Shard, StoreSettings, Tier
from relight.lab.airflow import LabAirflow
from relight.lab.executors import Local
from relight.lab.fleet import destroy
from relight.lab.place import Place
from relight.lab.s3 import S3Server
from relight.progress import Silent
from relight.server.session import connect
from relight.site import Site
from relight.steps.segments import ship_segments
from relight.steps.snapshot import take_snapshot
from relight.store.s3 import open_store
from tests.airflow.conftest import PROJECT, UNSCHEDULED
from tests.conftest import environment_of
from tests.support.servers import Servers

DATABASE = "postgresql"
pytestmark = pytest.mark.timeout(900)

RELIGHT = [sys.executable, "-c", "from relight.cli.main import main; main()"]
ROLES = ("viewer", "user", "op")
Done = subprocess.CompletedProcess[str]


@dataclass
class House:
    site: Site
    airflow: LabAirflow
    servers: Servers
    told: Path
    folder: Path

    @property
    def shard(self) -> Shard:
        return self.site.fleet.shards[0]

    def account(self, role: str) -> AirflowApi:
        return AirflowApi(self.airflow.url, Login(f"the-{role}", self.airflow.password(f"the-{role}")))

    def relight(self, *words: str) -> Done:
        """The command as somebody runs it who has an account of Airflow and nothing else."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith("RELIGHT_")}
        environment = {
            **plain, "RELIGHT_AIRFLOW_URL": self.airflow.url, "RELIGHT_AIRFLOW_USER": "the-user",
            "RELIGHT_AIRFLOW_PASSWORD": self.airflow.password("the-user"),
        }  # fmt: skip
        command = [*RELIGHT, *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)

    def notices(self) -> list[str]:
        return self.told.read_text(encoding="utf-8").splitlines() if self.told.exists() else []


def lines(done: Done) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def house(watched: Path, module_servers: Servers, s3_server: S3Server, executor: Local) -> Iterator[House]:
    """A shard that is backed up and lost, a store, an Airflow with an account per role and somebody to be told."""
    source = module_servers.make("shard-1-a")
    shard = Shard(name="shard-1", source=source)
    settings = StoreSettings(bucket=s3_server.bucket, prefix="doors", endpoint=s3_server.endpoint, part_size_mib=5)
    fleet = Fleet(fleet="test", store=settings, shards=(shard,), tiers=(Tier(tier=1, approval="always"),))
    credentials = EnvironmentCredentials(environment_of(module_servers.template.logins, s3_server.login))
    site = Site(fleet, open_store(settings, credentials.login("store")), credentials, Silent())
    with connect(source, module_servers.admin) as session:
        session.run("CREATE DATABASE shop")
        session.run("CREATE TABLE shop.orders (n INT PRIMARY KEY)")
        take_snapshot(site, "shard-1")
        session.run("INSERT INTO shop.orders VALUES (1), (2), (3)")
        ship_segments(site, "shard-1")
    destroy(shard)
    place = Place(watched / "doors")
    place.root.mkdir()
    place.fleet_file.write_text(yaml.safe_dump(fleet.model_dump(mode="json", exclude_none=True)), encoding="utf-8")
    told, notify = place.root / "told", place.root / "notify.yaml"
    every = ["started", "waiting", "predicted_to_miss", "done", "failed"]
    message = "{{ relight.event }} {{ relight.shard }} {{ relight.incident }} {{ relight.what }} {{ relight.link }}"
    notify.write_text(yaml.safe_dump([
        {"events": every, "notifier": "tests.support.notifying.Broken"},
        {"events": every, "notifier": "tests.support.notifying.ToFile", "arguments": {"path": str(told), "message": message}},
    ]))  # fmt: skip
    path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    airflow = LabAirflow(
        place, PROJECT, credentials, parallel=3, executor=executor, accounts={f"the-{role}": role for role in ROLES},
        settings={**UNSCHEDULED, "RELIGHT_NOTIFY": str(notify), "PYTHONPATH": path},
    )  # fmt: skip
    airflow.start().close()
    yield House(site, airflow, module_servers, told, place.root)
    airflow.stop()


@dataclass
class Asked:
    """The restore, ordered by the command, waits for a person. ``again`` joined it, ``other`` wanted something else."""

    house: House
    first: Done
    again: Done
    other: Done
    question: str


@pytest.fixture(scope="module")
def asked(house: House) -> Asked:
    words = ("restore", "shard-1", "--via-airflow", "--incident", "inc-7")
    first = house.relight(*words, "--wait", "--json")
    again = house.relight(*words, "--json")
    other = house.relight(*words, "--target", "time:2026-01-01T00:00:00Z")
    with house.account("viewer") as api:
        question = api.question("restore", "inc-7__shard-1", "approve")
    return Asked(house, first, again, other, question)


@dataclass
class Answered:
    """A person has agreed. ``followed``: the command that was watching."""

    house: House
    followed: Done


@pytest.fixture(scope="module")
def answered(asked: Asked) -> Answered:
    house = asked.house
    time.sleep(10)  # a person takes longer; an answer within its first seconds may be forgotten
    with house.account("viewer") as api, pytest.raises(AirflowRefused, match="403"):
        api.answer("restore", "inc-7__shard-1", "approve", "Promote", {"reason": "I only watch"})
    with house.account("user") as api:
        api.answer("restore", "inc-7__shard-1", "approve", "Promote", {"reason": "three rows, as it must be"})
    return Answered(house, house.relight("status", "inc-7", "--past-waiting", "--json"))


def test_the_command_starts_the_restore_and_says_line_by_line_how_it_goes_until_a_person_is_needed(
    asked: Asked,
) -> None:
    assert asked.first.returncode == 3, asked.first.stdout + asked.first.stderr
    assert "DAG restore was paused" in asked.first.stderr
    told = lines(asked.first)
    assert len(told) > 3
    assert {one["run"] for one in told} == {"inc-7__shard-1"}
    assert (told[-1]["state"], told[-1]["waiting"]) == ("waiting", ["approve"])


def test_asking_again_joins_the_restore_unless_something_else_is_asked_for(asked: Asked) -> None:
    assert asked.again.returncode == 0
    assert "joins run inc-7__shard-1" in asked.again.stderr
    assert lines(asked.again)[-1]["state"] == "waiting"
    assert asked.other.returncode == 1
    assert "the incident has another restore of this shard" in asked.other.stderr
    assert "target_kind is 'latest' there, 'time' here" in asked.other.stderr


def test_the_person_is_shown_the_verdicts(asked: Asked) -> None:
    assert "| shop | 1 | 1 | 0 | 0 | 3 |" in asked.question
    assert "the\\-user" in asked.question, "who asked for it"
    with connect(asked.house.shard.source, asked.house.servers.admin) as session:
        assert session.value("SELECT @@GLOBAL.offline_mode") == 1, "nothing is opened before they answer"


def test_who_agreed_stands_in_the_certificate_and_the_shard_is_back(answered: Answered) -> None:
    house = answered.house
    assert answered.followed.returncode == 0, answered.followed.stdout + answered.followed.stderr
    assert lines(answered.followed)[-1]["state"] == "done"
    with house.account("viewer") as api:
        summary = api.xcom("restore", "inc-7__shard-1", "certify")
    found = SignedCertificate.model_validate_json(house.site.store.get(summary["key"])).certificate
    assert (found.verdict, found.approved_by) == ("match", "the-user")
    assert found.approval_reason == "three rows, as it must be"
    with connect(house.shard.source, house.servers.admin) as session:
        assert session.rows("SELECT n FROM shop.orders") == [(1,), (2,), (3,)]


@dataclass
class Refused:
    """A restore of the shard that is back."""

    house: House
    done: Done


@pytest.fixture(scope="module")
def refused(answered: Answered) -> Refused:
    house = answered.house
    return Refused(
        house, house.relight("restore", "shard-1", "--via-airflow", "--incident", "inc-8", "--wait", "--json")
    )


def test_a_failed_task_is_named_with_the_last_line_of_its_log(refused: Refused) -> None:
    assert refused.done.returncode == 1
    last = lines(refused.done)[-1]
    assert (last["state"], last["running"], last["waiting"]) == ("failed", [], [])
    (failed,) = last["failed"]
    assert failed["task"] == "guard"
    assert "refuses" in failed["said"]
    assert "hint: nothing was touched" in failed["said"]


def test_people_are_told_of_start_question_and_end_and_a_broken_pager_stops_nothing(refused: Refused) -> None:
    house = refused.house
    deadline = time.monotonic() + 60  # of ends the dag-processor tells, in its own time
    while len(house.notices()) < 5 and time.monotonic() < deadline:
        time.sleep(1)
    events = [line.split(" ", 3)[:3] for line in house.notices()]
    assert events[:3] == [[event, "shard-1", "inc-7"] for event in ("started", "waiting", "done")]
    assert events[3:] == [[event, "shard-1", "inc-8"] for event in ("started", "failed")]
    assert all(line.endswith(f"{house.airflow.url}/dags/restore/runs/inc-7__shard-1") for line in house.notices()[:3])
    logs = house.folder / "airflow" / "logs"
    text = "\n".join(path.read_text(errors="replace") for path in logs.rglob("*.log"))
    assert "was not told that started, and the run goes on: ConnectionError: the pager does not answer" in text


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("viewer", {"see runs", "see logs"}),
        ("user", {"see runs", "see logs", "unpause", "start"}),
        ("op", {"see runs", "see logs", "unpause", "start", "see connections", "change variables"}),
    ],
)
def test_a_role_may_what_the_readme_says_and_no_more(refused: Refused, role: str, may: set[str]) -> None:
    run = "/api/v2/dags/restore/dagRuns/inc-7__shard-1"
    body = {"logical_date": None, "dag_run_id": f"by-{role}__shard-1", "conf": {"shard": "shard-1"}}
    variable = {"key": f"by-{role}", "value": "x"}
    asked = {
        "see runs": ("GET", run, None),
        "see logs": ("GET", f"{run}/taskInstances/guard/logs/1", None),
        "unpause": ("PATCH", "/api/v2/dags/restore", {"is_paused": False}),
        "start": ("POST", "/api/v2/dags/restore/dagRuns", body),
        "see connections": ("GET", "/api/v2/connections", None),
        "change variables": ("POST", "/api/v2/variables", variable),
    }  # fmt: skip
    with refused.house.account(role) as api:
        for what in may:
            api.send(*asked[what])
        for what in set(asked) - may:
            with pytest.raises(AirflowRefused, match="403"):
                api.send(*asked[what])


def readme_calls() -> list[str]:
    """The lines of the README's part on the API, in their order."""
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    found = [line[2:] for block in blocks for line in block.splitlines() if "$AIRFLOW/" in line]
    assert len(found) > 6
    return found


def test_every_call_of_the_readme_is_answered_as_it_says(refused: Refused) -> None:
    house = refused.house
    login = {"username": "the-user", "password": house.airflow.password("the-user")}
    (house.folder / "login.json").write_text(json.dumps(login))
    script = [f"AIRFLOW={shlex.quote(house.airflow.url)}", "set -e"]
    for line in readme_calls():
        script += [line.replace("curl -sS", "curl -sS --fail-with-body"), "echo"]
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)], cwd=house.folder, capture_output=True, text=True, check=False, timeout=300
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert '"dag_run_id":"incident-1__shard-1"' in done.stdout
