"""Catalog, plan and the commands around them, on real backups."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest
import yaml

from relight.backups.catalog import load_catalog
from relight.backups.reach import reaches
from relight.credentials import EnvironmentCredentials
from relight.errors import ObjectCorrupt, PlanError, PlanOutdated, TargetError
from relight.fleet import Fleet, Server, Shard, StoreSettings
from relight.gtid import GtidSet
from relight.lab.s3 import S3Server
from relight.lab.template import Logins
from relight.planning.plan import load_plan, load_snapshot_manifest
from relight.planning.target import Target
from relight.progress import Silent
from relight.site import Run, Site
from relight.steps.plan import plan_run
from relight.steps.segments import ship_segments
from relight.steps.snapshot import take_snapshot
from relight.store.s3 import open_store
from tests.conftest import environment_of
from tests.support.servers import Servers

MakeSite = Callable[..., Site]
LATEST = Target(kind="latest")


@pytest.fixture(scope="module")
def source(module_servers: Servers) -> Server:
    server = module_servers.make("source")
    with module_servers.connect(server) as session:
        session.run("CREATE DATABASE d")
        session.run("CREATE TABLE d.t (id INT PRIMARY KEY AUTO_INCREMENT)")
    return server


def back_up(the_site: Site, servers: Servers) -> Site:
    """A snapshot, and two more segments behind it."""
    take_snapshot(the_site, "shard-1")
    with servers.connect(the_site.fleet.shards[0].source) as session:
        for _ in range(2):
            session.run("INSERT INTO d.t VALUES ()")
            ship_segments(the_site, "shard-1")
    return the_site


@pytest.fixture
def to_break(site: MakeSite, source: Server, module_servers: Servers) -> Site:
    """A store of the test's own with backups in it."""
    return back_up(site(source), module_servers)


@pytest.fixture(scope="module")
def backed_up(source: Server, module_servers: Servers, s3_server: S3Server, logins: Logins) -> Site:
    """A store with backups in it, which tests leave whole."""
    settings = StoreSettings(bucket=s3_server.bucket, prefix=f"t-{uuid.uuid4().hex}", endpoint=s3_server.endpoint)
    fleet = Fleet(fleet="test", store=settings, shards=(Shard(name="shard-1", source=source),))
    credentials = EnvironmentCredentials(environment_of(logins, s3_server.login))
    return back_up(Site(fleet, open_store(settings, s3_server.login), credentials, Silent()), module_servers)


@pytest.fixture
def bucket(s3_server: S3Server) -> Callable[[Site], object]:
    """Raw access to a site's objects, to break them."""
    resource = boto3.resource(
        "s3", endpoint_url=s3_server.endpoint, region_name="us-east-1", aws_access_key_id=s3_server.login.user,
        aws_secret_access_key=s3_server.login.password,
    )  # fmt: skip

    def object_of(the_site: Site, key: str) -> object:
        return resource.Object(s3_server.bucket, f"{the_site.fleet.store.prefix}/{key}")

    return object_of


def run_of(target: Target = LATEST, run_id: str = "run-1") -> Run:
    return Run(run_id=run_id, shard="shard-1", target=target)


def test_a_plan_is_made_once_per_run_and_never_leaves_out_in_silence_what_is_backed_up_since(
    backed_up: Site, source: Server, module_servers: Servers
) -> None:
    first = plan_run(backed_up, run_of())
    again = plan_run(backed_up, run_of())
    with module_servers.connect(source) as session:
        executed = GtidSet.parse(session.value("SELECT @@GLOBAL.gtid_executed"))
        session.run("INSERT INTO d.t VALUES ()")
    assert again == first == plan_run(backed_up, run_of())
    ship_segments(backed_up, "shard-1")
    with pytest.raises(PlanOutdated, match="1 transactions that are in the store would be left out"):
        plan_run(backed_up, run_of())
    assert plan_run(backed_up, run_of(run_id="run-2")).segments == first.segments + 1
    plan = load_plan(backed_up.store, run_of())
    assert plan.end_gtids == executed
    assert first.files == tuple(planned.segment.file for planned in plan.segments)
    assert first.transactions == sum(planned.take.count() for planned in plan.segments)


def test_a_run_id_that_was_used_for_another_target_is_refused(backed_up: Site) -> None:
    plan_run(backed_up, run_of(run_id="taken"))
    gtid = next(iter(load_plan(backed_up.store, run_of(run_id="taken")).segments[0].take))
    with pytest.raises(PlanError, match="has a plan already"):
        plan_run(backed_up, run_of(Target(kind="gtid", value=str(gtid)), "taken"))


def test_no_plan_is_left_behind_when_the_target_cannot_be_reached(backed_up: Site) -> None:
    run = run_of(Target.parse("time:2001-01-01T00:00:00Z"), "impossible")
    with pytest.raises(TargetError):
        plan_run(backed_up, run)
    assert run.plan_key not in [entry.key for entry in backed_up.store.list("shard-1/runs/")]


def test_a_manifest_that_was_changed_after_planning_is_refused(
    to_break: Site, bucket: Callable[[Site, str], object]
) -> None:
    plan_run(to_break, run_of())
    reference = load_plan(to_break.store, run_of()).snapshot
    assert load_snapshot_manifest(to_break.store, reference).id == reference.id
    content = bytearray(to_break.store.get(reference.manifest_key))
    content[len(content) // 2] ^= 1
    bucket(to_break, reference.manifest_key).put(Body=bytes(content))  # type: ignore[attr-defined]
    with pytest.raises(ObjectCorrupt, match="manifest"):
        load_snapshot_manifest(to_break.store, reference)


def test_the_catalog_notes_damage_and_ignores_what_it_does_not_know(
    to_break: Site, bucket: Callable[[Site, str], object]
) -> None:
    before = load_catalog(to_break.store, "shard-1")
    part = next(e.key for e in to_break.store.list(f"shard-1/snapshots/{before.snapshots[0].reference.id}/parts/"))
    to_break.store.put("shard-1/segments/readme.txt", b"hello")
    to_break.store.put("shard-1/snapshots/unfinished/parts/0001.zst", b"half a backup")
    assert load_catalog(to_break.store, "shard-1") == before
    bucket(to_break, part).delete()  # type: ignore[attr-defined]
    bucket(to_break, before.segments[-1].key).delete()  # type: ignore[attr-defined]
    broken = before.segments[0].key.removesuffix(".zst") + ".json"
    bucket(to_break, broken).put(Body=b'{"version": 1}')  # type: ignore[attr-defined]
    after = load_catalog(to_break.store, "shard-1")
    assert after.snapshots[0].missing == (part,)
    assert after.missing == (before.segments[-1].key,)
    assert [entry.key for entry in after.unreadable] == [broken]
    assert len(reaches(after)) == 1


def test_a_shard_that_was_never_backed_up_has_an_empty_catalog_and_no_plan(site: MakeSite, source: Server) -> None:
    the_site = site(source)
    assert load_catalog(the_site.store, "shard-1").snapshots == ()
    with pytest.raises(PlanError, match="no full backup"):
        plan_run(the_site, run_of())


@pytest.fixture
def relight(
    backed_up: Site, credentials: EnvironmentCredentials, tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command itself, on the fleet of ``backed_up``."""
    file = tmp_path / "fleet.yaml"
    file.write_text(yaml.safe_dump(backed_up.fleet.model_dump(mode="json", exclude_none=True)), encoding="utf-8")
    environment = {**os.environ, **credentials.environment, "RELIGHT_FLEET": str(file)}

    def call(*arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).parent / "relight", *arguments], env={**environment, **changed}, text=True,
            capture_output=True, check=False, timeout=120,
        )  # fmt: skip

    return call


Relight = Callable[..., "subprocess.CompletedProcess[str]"]


def test_the_commands_print_json_that_is_valid_and_complete(relight: Relight, backed_up: Site) -> None:
    there = load_catalog(backed_up.store, "shard-1")
    shown = json.loads(relight("catalog", "shard-1", "--json").stdout)
    assert len(shown["snapshots"]) == 1
    assert [entry["key"] for entry in shown["segments"]] == [segment.key for segment in there.segments]
    assert shown["reach"][0]["missing"] == ""
    planned = json.loads(relight("plan", "shard-1", "--json").stdout)
    assert {entry["segment"]["key"] for entry in planned["segments"]} <= {segment.key for segment in there.segments}
    assert planned["segments"]
    assert planned["server"] == "source"
    (shipped,) = json.loads(relight("backup", "logs", "shard-1", "--json").stdout)
    assert shipped["unshipped_transactions"] == 0
    (taken,) = json.loads(relight("backup", "full", "--all", "--json").stdout)
    assert taken["rows"] >= 2


def test_the_commands_show_tables_to_people(relight: Relight) -> None:
    catalog = relight("catalog", "shard-1")
    assert catalog.returncode == 0
    assert "binlog.00000" in catalog.stdout
    plan = relight("plan", "shard-1")
    assert "latest" in plan.stdout
    assert "up to the target" not in plan.stdout
    assert "would be lost now" in relight("backup", "logs", "shard-1").stdout


def test_a_plan_that_ends_inside_a_file_is_shown_with_what_is_known_of_its_end(
    relight: Relight, backed_up: Site
) -> None:
    last = load_catalog(backed_up.store, "shard-1").segments[-1]
    gtid = next(iter(last.gtids))
    for target in (f"before:{gtid}", f"position:{last.file}:200"):
        shown = relight("plan", "shard-1", "--target", target)
        assert shown.returncode == 0, shown.stderr
        assert target in shown.stdout
        assert "at the latest" in shown.stdout
        assert "up to the target" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (("plan", "shard-9"), 1, "unknown shard"),
        (("plan", "shard-1", "--target", "time:2026-01-01"), 1, "time zone"),
        (("plan", "shard-1", "--target", "gtid:1-2-3"), 1, "malformed GTID"),
        (("plan", "shard-1", "--target", "time:2001-01-01T00:00:00Z"), 1, "before the first snapshot"),
        (("plan", "shard-1", "--target", "time:2101-01-01T00:00:00Z"), 1, "in the future"),
        (("plan", "shard-1", "--mode", "rehearse"), 1, "no scratch server"),
        (("plan", "shard-1", "--mode", "guess"), 2, "guess"),
        (("backup", "full"), 2, "--all"),
        (("backup", "full", "shard-1", "--all"), 2, "--all"),
        (("catalog",), 2, ""),
    ],
)
def test_mistakes_get_one_line_and_an_exit_status(
    relight: Relight, arguments: tuple[str, ...], status: int, text: str
) -> None:
    done = relight(*arguments)
    assert done.returncode == status
    assert text in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_wrong_store_credentials_are_said_without_showing_them(relight: Relight) -> None:
    done = relight("catalog", "shard-1", RELIGHT_STORE_PASSWORD="not-the-secret")
    assert done.returncode == 1
    assert "credentials" in done.stderr
    assert "not-the-secret" not in done.stderr + done.stdout
