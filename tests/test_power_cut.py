"""A power cut that leaves files empty or short, after each step of a real restore: the step is done again.

Such files cannot come of Relight's own writing any more (tests/test_durable.py); disks do worse, and older versions did.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from relight.errors import PromotionRefused, RelightError, ValidationFailed
from relight.planning.target import Target
from relight.promotion import mark_of
from relight.run_files import certificate_path, judgement_path, lanes_path, load_split, split_folder
from relight.server import mysqld
from relight.server.rebuilt import mark_path, read_mark
from relight.site import Run, Site
from relight.steps.certify import certify
from relight.steps.judge import judge
from relight.steps.lanes import plan_lanes
from relight.steps.plan import plan_run
from relight.steps.replay import replay_group
from relight.steps.restore import restore_snapshot
from relight.steps.segments import ship_segments
from relight.steps.snapshot import take_snapshot
from relight.steps.split import split_segment
from relight.steps.validate import validate_database
from tests.support.servers import Servers

SCHEMA = """
CREATE DATABASE a
CREATE DATABASE b
CREATE TABLE a.t (id INT PRIMARY KEY, v VARCHAR(50))
CREATE TABLE b.t (id INT PRIMARY KEY, v VARCHAR(50))
"""


@dataclass
class Restored:
    site: Site
    run: Run

    @property
    def folder(self) -> Path:
        return self.run.folder(self.site.fleet)

    def cut_each(self, below: Path, again: Callable[[], object]) -> None:
        """Cut every file below a folder, one after the other; each time the step makes it again as it was."""
        files = {path: path.stat().st_size for path in sorted(below.rglob("*")) if path.is_file()}
        assert any(files.values())
        for share, (path, size) in product((0, 0.5), files.items()):
            if path.suffix == ".lock" or not size:
                continue
            with path.open("r+b") as file:
                file.truncate(int(size * share))
            again()
            assert path.stat().st_size > int(size * share), path


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture
def restored(servers: Servers, site: Callable[..., Site]) -> Restored:
    source = servers.make("source")
    place = site(source, scratch=servers.make("scratch", empty=True))
    with servers.connect(source) as session:
        for statement in SCHEMA.strip().splitlines():
            session.run(statement)
        take_snapshot(place, "shard-1")
        for number in range(30):
            session.run("INSERT INTO a.t VALUES (%s, 'x')", number)
            session.run("INSERT INTO b.t VALUES (%s, 'y')", number)
        session.run("ALTER TABLE a.t ADD COLUMN late INT DEFAULT 3")
        ship_segments(place, "shard-1")
    run = Run(run_id="run-1", shard="shard-1", target=Target(kind="latest"), mode="rehearse")
    plan_run(place, run)
    return Restored(place, run)


def test_whatever_a_power_cut_leaves_empty_or_short_is_made_again(servers: Servers, restored: Restored) -> None:
    site, run, folder = restored.site, restored.run, restored.folder
    server = run.server(site.fleet)
    restore_snapshot(site, run)
    _a_mark_that_was_cut_is_nobody_s(restored)

    split_segment(site, run, 0)
    restored.cut_each(split_folder(folder, 0), lambda: split_segment(site, run, 0))
    load_split(folder, 0)

    groups = plan_lanes(site, run).groups
    halve(lanes_path(folder))
    with pytest.raises(RelightError, match="lanes"):
        replay_group(site, run, groups[0].number)
    lanes = plan_lanes(site, run)

    # A stream that is cut while lanes are at work is split again, too.
    stream = split_folder(folder, 0) / load_split(folder, 0).streams[0].file
    halve(stream)
    for group in lanes.groups:
        replay_group(site, run, group.number)

    def validated() -> None:
        for database in lanes.databases:
            validate_database(site, run, database)

    validated()
    for below in ("verdicts", "checks"):
        restored.cut_each(folder / below, validated)
    verdict = next((folder / "verdicts").iterdir())
    verdict.write_bytes(b"")
    with pytest.raises(ValidationFailed, match="not validated"):
        judge(site, run)
    validated()
    judge(site, run)

    halve(judgement_path(folder))
    with pytest.raises(ValidationFailed, match="judged"):
        certify(site, run)
    assert judge(site, run).verdict == "match"
    certify(site, run)
    certificate_path(folder).write_bytes(b"")
    assert certify(site, run).verdict == "match"
    with mysqld.start(server, site.admin) as session:
        assert session.value("SELECT COUNT(*) FROM a.t WHERE late = 3") == 30
        assert session.value("SELECT COUNT(*) FROM b.t") == 30


def _a_mark_that_was_cut_is_nobody_s(restored: Restored) -> None:
    """Neither is the directory taken for the run's, nor set aside under a living server, nor ever removed."""
    site, run = restored.site, restored.run
    server = run.server(site.fleet)
    mark = mark_path(server.datadir)
    halve(mark)
    with pytest.raises(PromotionRefused, match="not known"):
        mark_of(run, server)
    with pytest.raises(RelightError, match="refuses"):
        restore_snapshot(site, run)
    assert mark.exists()
    mysqld.stop(server, site.admin)
    summary = restore_snapshot(site, run)
    assert (Path(summary.set_aside) / "ibdata1").exists()
    found = read_mark(server.datadir)
    assert found is not None
    assert found.run_id == run.run_id
