"""``relight forecast`` on a real store, with one shard that was really backed up and one that never was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from relight.lab.s3 import S3Server
from relight.lab.template import Logins
from tests.conftest import environment_of
from tests.support.servers import Servers

Done = subprocess.CompletedProcess[str]
Relight = Callable[..., Done]
RELIGHT = Path(sys.executable).parent / "relight"


@pytest.fixture(scope="module")
def document(module_servers: Servers, s3_server: S3Server) -> dict[str, Any]:
    """The fleet file: shard-1 answers, shard-2 does not."""
    up, gone = module_servers.make("up"), module_servers.make("gone", start=False)
    with module_servers.connect(up) as session:
        session.run("CREATE DATABASE d")
        session.run("CREATE TABLE d.t (id INT PRIMARY KEY)")
    shards = [
        {"name": f"shard-{n}", "tier": n, "source": server.model_dump(mode="json", exclude_none=True)}
        for n, server in ((1, up), (2, gone))
    ]
    store = {"bucket": s3_server.bucket, "prefix": "forecasts", "endpoint": s3_server.endpoint}
    return {"fleet": "test", "store": store, "shards": shards, "tiers": [{"tier": 1, "objective_minutes": 600}]}


@pytest.fixture(scope="module")
def relight(
    document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, logins: Logins, s3_server: S3Server
) -> Relight:
    folder = tmp_path_factory.mktemp("forecast")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RELIGHT_")}
    environment = {**plain, **environment_of(logins, s3_server.login), "RELIGHT_LAB": str(folder / "no-lab")}

    def call(*arguments: str, **changed: Any) -> Done:
        file = folder / "fleet.yaml"
        file.write_text(yaml.safe_dump({**document, **changed}), encoding="utf-8")
        return subprocess.run(
            [RELIGHT, *arguments, "--fleet", str(file)], env=environment, cwd=folder, text=True, capture_output=True,
            check=False, timeout=120,
        )  # fmt: skip

    return call


@pytest.fixture(scope="module", autouse=True)
def backed_up(relight: Relight) -> None:
    done = relight("backup", "full", "shard-1")
    assert done.returncode == 0, done.stderr


def test_a_script_gets_every_shard_its_forecast_and_why_another_cannot_be_brought_back(relight: Relight) -> None:
    done = relight("forecast", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (one,) = found["shards"]
    assert one["load"]["shard"] == one["forecast"]["shard"] == one["back"]["shard"] == "shard-1"
    assert one["load"]["data_bytes"] > 1_000_000
    assert one["load"]["databases"] == 1
    total = one["forecast"]["total"]
    assert 0 < total["low"] < total["seconds"] < total["high"]
    assert (one["objective_seconds"], one["objective"]) == (36_000, "kept")
    assert found["recovery"]["bottleneck"]["kind"] == "largest"
    assert found["learned_from"] == 0
    (other,) = found["unplanned"]
    assert other["shard"] == "shard-2"
    assert "there is no full backup" in other["why"]


def test_a_person_reads_when_it_is_over_and_what_holds_it_up(relight: Relight) -> None:
    done = relight("forecast", "--shards", "shard-*", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "back with 1 workers: first" in done.stdout
    assert "bottleneck: " in done.stdout
    assert "half the time: " in done.stdout
    assert "speeds: nothing was measured yet" in done.stdout
    assert "shard-2 cannot be brought back: there is no full backup" in done.stdout


def test_a_promise_that_cannot_be_kept_is_told(relight: Relight) -> None:
    done = relight("forecast", "--json", tiers=[{"tier": 1, "objective_minutes": 0.01}])
    assert [one["objective"] for one in json.loads(done.stdout)["shards"]] == ["missed"]


def test_the_chart_is_an_svg_file(relight: Relight, tmp_path: Path) -> None:
    done = relight("forecast", "--plot", str(tmp_path / "fleet.svg"))
    assert done.returncode == 0, done.stderr
    assert ET.parse(tmp_path / "fleet.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--shards", "eu-*"), "unknown shard (eu-*): the fleet file has shard-1, shard-2"),
        (("--shards", "shard-1", "--down"), "no shard is left to look at (shard-1): a server of each answers"),
        (("--down",), "none of the shards can be brought back as things are (shard-2)"),
        (("--plot", "/no/such/folder/x.svg"), "the chart cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_with_a_hint_and_without_a_traceback(
    relight: Relight, arguments: tuple[str, ...], said: str
) -> None:
    done = relight("forecast", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
