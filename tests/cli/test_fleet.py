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
    done = relight()
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["a-2", "b-2", "a-1", "b-1"]
    assert "1 h 30 min" in lines[3]
    assert "everything" in lines[1]
    assert "a-2: no full backup: it cannot be brought back: take one now: relight backup full a-2" in lines
    assert lines[-1].startswith("4 of 4 shards: 1 bad, 1 warning, 2 good; looked at in ")


@pytest.mark.parametrize(
    ("arguments", "shards"),
    [
        (("--match", "b-*"), ["b-2", "b-1"]), (("--tier", "1"), ["a-1"]), (("--health", "good"), ["a-1", "b-1"]),
        (("--health", "good", "--match", "b*"), ["b-1"]), (("--match", "c"), []),
    ],
)  # fmt: skip
def test_shards_are_chosen_by_tier_health_and_name(
    relight: Callable[..., Done], arguments: tuple[str, ...], shards: list[str]
) -> None:
    done = relight(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert [card["shard"] for card in json.loads(done.stdout)["cards"]] == shards
