"""Each kind of sabotage is done to a real server that was rebuilt and proved, and found by the check that is meant to."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from relight.backups.catalog import load_catalog
from relight.credentials import EnvironmentCredentials
from relight.errors import SabotageImpossible, SabotageMissed
from relight.fleet import Fleet, Server, Shard, StoreSettings
from relight.lab.mysql import MySQL
from relight.lab.s3 import S3Server
from relight.lab.template import Template
from relight.planning.target import Target
from relight.progress import Silent
from relight.recover import recover
from relight.sabotage import Sabotage
from relight.server.session import Session
from relight.site import Run, Site
from relight.step_records import load_records
from relight.steps import drill as drill_step
from relight.steps.drill import DrillSummary
from relight.steps.segments import ship_segments
from relight.steps.snapshot import take_snapshot
from relight.store.s3 import open_store
from tests.conftest import environment_of, make_servers
from tests.support.servers import Servers

SCHEMA = """
CREATE DATABASE shop
CREATE DATABASE quiet
CREATE TABLE shop.customers (id INT PRIMARY KEY, name VARCHAR(40), mail VARCHAR(60) UNIQUE, score DOUBLE, KEY (name))
CREATE TABLE shop.orders (id INT AUTO_INCREMENT PRIMARY KEY, customer INT, total DECIMAL(10,2), doc JSON, placed DATETIME(3), KEY by_total (total), FOREIGN KEY (customer) REFERENCES shop.customers (id))
CREATE TABLE shop.heap (v INT)
CREATE TABLE shop.audit (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(40))
CREATE TRIGGER shop.noted AFTER DELETE ON shop.orders FOR EACH ROW INSERT INTO shop.audit (what) VALUES (CONCAT('deleted ', OLD.id))
CREATE TABLE quiet.settings (name VARCHAR(20) PRIMARY KEY, value VARCHAR(20))
INSERT INTO quiet.settings VALUES ('colour', 'green')
"""


def write(session: Session, first: int, count: int) -> None:
    for n in range(first, first + count):
        session.run("INSERT INTO shop.customers VALUES (%s, %s, %s, %s)", n, f"name {n % 7}", f"{n}@x", n / 3)
        session.run("BEGIN")
        session.run("INSERT INTO shop.orders (customer, total, doc, placed) VALUES (%s, %s, %s, NOW(3))",
                    n, n, json.dumps({"n": n}))  # fmt: skip
        session.run("UPDATE shop.customers SET score = score + 1 WHERE id = %s", max(n - 3, 0))
        session.run("COMMIT")
        session.run("INSERT INTO shop.heap VALUES (%s)", n)
        if n % 5 == 4:
            session.run("DELETE FROM shop.orders WHERE customer = %s", n - 2)


@dataclass
class BackedUp:
    """A shard with a full backup and three segments, and a scratch server to rehearse on."""

    site: Site
    scratch: Server
    first_commit: datetime

    def rehearse(self, *sabotages: Sabotage) -> DrillSummary:
        """A whole rehearsal; gives what its drill found. The check is told by the certificate to have passed before."""
        run = self.run(*sabotages)
        recover(self.site, run)
        (record,) = [one for one in load_records(self.site.store, run) if one.step == "drill"]
        return DrillSummary.model_validate(record.summary)

    def run(self, *sabotages: Sabotage) -> Run:
        return Run(
            run_id=f"r-{uuid.uuid4().hex[:8]}", shard="shard-1", target=Target(kind="latest"), mode="rehearse",
            sabotages=sabotages,
        )  # fmt: skip


@pytest.fixture(scope="module")
def backed_up(watched: Path, mysql: MySQL, template: Template, s3_server: S3Server) -> Iterator[BackedUp]:
    for servers in make_servers(watched, mysql, template):
        yield _backed_up(servers, template, s3_server)


def _backed_up(servers: Servers, template: Template, s3_server: S3Server) -> BackedUp:
    source, scratch = servers.make("source"), servers.make("scratch", empty=True)
    settings = StoreSettings(
        bucket=s3_server.bucket, prefix=f"t-{uuid.uuid4().hex[:12]}", endpoint=s3_server.endpoint, part_size_mib=5
    )
    credentials = EnvironmentCredentials(environment_of(template.logins, s3_server.login))
    fleet = Fleet(fleet="test", store=settings, shards=(Shard(name="shard-1", source=source, scratch=scratch),))
    site = Site(fleet, open_store(settings, credentials.login("store")), credentials, Silent())
    with servers.connect(source) as session:
        for statement in SCHEMA.strip().splitlines():
            session.run(statement)
        write(session, 0, 20)
        take_snapshot(site, "shard-1")
        for first in (20, 40, 60):
            write(session, first, 20)
            ship_segments(site, "shard-1")
    first = min(segment.last_commit for segment in load_catalog(site.store, "shard-1").segments if segment.last_commit)
    return BackedUp(site, scratch, first)


@pytest.mark.parametrize(
    ("sabotage", "checks"),
    [
        ("drop_row", {"row counts"}),
        ("change_value", {"row content"}),
        ("swap_values", {"row content"}),
        ("drop_index", {"definitions"}),
        ("skip_transaction", {"row counts", "row content"}),
        ("replay_twice", {"row counts", "row content"}),
        ("lose_segment", {"chain of logs"}),
        ("flip_bit", {"stored bytes"}),
        ("leave_replica_behind", {"replicas"}),
    ],
)  # fmt: skip
def test_a_sabotage_is_found_by_the_check_that_is_meant_to(
    backed_up: BackedUp, sabotage: Sabotage, checks: set[str]
) -> None:
    found = backed_up.rehearse(sabotage)
    assert found.sabotage == sabotage
    assert found.check in checks
    assert found.check in found.caught_by
    assert found.findings
    assert not backed_up.scratch.datadir.exists(), "it was not torn down"


def test_a_sabotage_that_no_check_finds_fails_the_rehearsal_and_it_is_torn_down_all_the_same(
    backed_up: BackedUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a check that has gone blind would say.
    monkeypatch.setattr(drill_step, "check_database", lambda *_: ([], []))
    with pytest.raises(SabotageMissed, match="row counts had to find it, and no check did"):
        backed_up.rehearse("drop_row")
    assert not backed_up.scratch.datadir.exists()


def test_what_is_not_possible_is_passed_over_and_alone_it_is_refused(backed_up: BackedUp) -> None:
    # Up to its first second, the log has one segment, which is the last.
    early = Target.parse(f"time:{backed_up.first_commit.isoformat()}")
    run = backed_up.run("lose_segment", "flip_bit").model_copy(update={"target": early})
    recover(backed_up.site, run)
    (record,) = [one for one in load_records(backed_up.site.store, run) if one.step == "drill"]
    assert record.summary["sabotage"] == "flip_bit"
    alone = backed_up.run("lose_segment").model_copy(update={"target": early})
    with pytest.raises(SabotageImpossible, match="lose_segment"):
        recover(backed_up.site, alone)


def test_only_a_rehearsal_can_be_sabotaged() -> None:
    with pytest.raises(ValueError, match="only a rehearsal may be sabotaged"):
        Run(run_id="r", shard="s", target=Target(kind="latest"), mode="promote", sabotages=("drop_row",))
