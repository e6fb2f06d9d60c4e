"""``relight fleet``, as a person and as a script reads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from relight.fleet import Fleet, StoreSettings, Tier
from relight.lab.s3 import S3Server
from relight.lab.template import Logins
from relight.store.s3 import open_store
from tests.airflow.fleets import fleet
from tests.conftest import environment_of
from tests.overview import made
from tests.overview.made import DAY

Done = subprocess.CompletedProcess[str]


@pytest.fixture
def relight(tmp_path: Path, store_settings: StoreSettings, s3_server: S3Server, logins: Logins) -> Callable[..., Done]:
    """Runs the command for a fleet of which two shards are in order, one has no backup, one an old proof."""
    shards = [s.model_copy(update={"tier": n}) for n, s in enumerate(fleet("a-1", "a-2", "b-1", "b-2").shards, 1)]
    known = Fleet(fleet="test", store=store_settings, shards=tuple(shards), tiers=(Tier(tier=1, objective_minutes=90),))
    store = open_store(store_settings, s3_server.login)
    for name in ("a-1", "b-1"):
        made.in_order(store, name)
    made.snapshot(store, "b-2", age=60)
    made.rehearsal(store, "b-2", age=40 * DAY)
    file = tmp_path / "fleet.yaml"
    file.write_text(yaml.safe_dump(known.model_dump(mode="json", exclude_none=True)), encoding="utf-8")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RELIGHT_")}
    environment = {**plain, **environment_of(logins, s3_server.login), "RELIGHT_FLEET": str(file)}

    def call(*arguments: str) -> Done:
        main = "from relight.cli.main import main; main()"
        return subprocess.run(
            [sys.executable, "-c", main, "fleet", *arguments], env=environment, text=True, capture_output=True,
            check=False, timeout=120,
        )  # fmt: skip

    return call


def test_the_worst_come_first_with_what_to_do_about_them(relight: Callable[..., Done]) -> None:
    done = relight("--no-ask")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["a-2", "b-2", "a-1", "b-1"]
    assert "1 h 30 min" in lines[3]
    assert "everything" in lines[1]
    assert "a-2: no full backup: it cannot be brought back: take one now: relight backup full a-2" in lines
    assert lines[-1].startswith("4 of 4 shards: 1 at risk, 1 attention, 2 ready; looked at in ")


@pytest.mark.parametrize(
    ("arguments", "shards"),
    [
        (("--match", "b-*"), ["b-2", "b-1"]), (("--tier", "1"), ["a-1"]), (("--health", "ready"), ["a-1", "b-1"]),
        (("--health", "good", "--match", "b*"), ["b-1"]), (("--health", "at-risk"), ["a-2"]), (("--health", "At risk"), ["a-2"]), (("--match", "c"), []),
    ],
)  # fmt: skip
def test_shards_are_chosen_by_tier_health_and_name(
    relight: Callable[..., Done], arguments: tuple[str, ...], shards: list[str]
) -> None:
    done = relight(*arguments, "--json", "--no-ask")
    assert done.returncode == 0, done.stderr
    assert [card["shard"] for card in json.loads(done.stdout)["cards"]] == shards


def test_the_words_are_those_of_the_pages_and_shards_whose_servers_are_gone_come_first(
    relight: Callable[..., Done],
) -> None:
    done = relight("--health", "down", "--tier", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].split()[:3] == ["a-1", "1", "down"]
    assert "a-1: none of its servers answers: bring it back: relight restore a-1" in done.stdout
    assert "1 of 4 shards: 1 down; looked at in" in done.stdout


def test_a_health_that_is_none_is_refused_with_those_there_are(relight: Callable[..., Done]) -> None:
    done = relight("--health", "splendid")
    assert done.returncode == 1
    assert "use one of down, at-risk, not-seen, attention, ready" in done.stderr
