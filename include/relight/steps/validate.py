"""Step: prove the rebuilt data of a database against snapshot and log, before anyone is let in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from relight.accounting import Expected, TableName, expected_rows
from relight.backups.manifest import Definition, SnapshotManifest, Value
from relight.lane.segments import lane_segment
from relight.planning.plan import Plan, load_plan, load_snapshot_manifest
from relight.run_files import (
    TableVerdict,
    checks_path,
    load_lanes,
    load_split,
    load_verdicts,
    split_folder,
    verdict_path,
    write_whole,
)
from relight.server.definitions import without_counter
from relight.server.rebuilt import is_promoted_by
from relight.server.session import connect
from relight.site import Run, Site
from relight.steps.stepping import step
from relight.verify.counting import doubt_silent_cascades
from relight.verify.database import Claim, verify_database


class DatabaseVerdict(Value):
    """All tables of one database. The tables themselves lie in the run's folder."""

    database: str
    matches: int
    mismatches: tuple[TableVerdict, ...]
    inconclusive: tuple[TableVerdict, ...]
    rows: int


@step("validate")
def validate_database(site: Site, run: Run, database: str) -> DatabaseVerdict:
    """Prove everything that can be proved of a database: counts, contents, definitions, integrity.

    Does not raise on a mismatch: every database is looked at before :func:`judge` decides.
    """
    folder = run.folder(site.fleet)
    if is_promoted_by(run.server(site.fleet).datadir, run.run_id):
        site.progress.say(f"{run.shard} was promoted by this run: the verdicts from before stand")
        return _summary(site, database, [v for v in load_verdicts(folder) if v.database == database])
    claim = _claim(site, run, database)
    with connect(run.server(site.fleet), site.admin) as session:
        verdicts, checks = verify_database(session, claim)
    path = verdict_path(folder, load_lanes(folder), database)
    write_whole(checks_path(folder, path.stem), "\n".join(check.model_dump_json() for check in checks))
    write_whole(path, "\n".join(v.model_dump_json() for v in verdicts))
    for check in checks:
        site.progress.say(f"{database}: {check.check}: {check.verdict} ({check.checked} in {check.seconds:.1f} s)")
    return _summary(site, database, verdicts)


def _claim(site: Site, run: Run, database: str) -> Claim:
    folder = run.folder(site.fleet)
    plan = load_plan(site.store, run)
    snapshot = load_snapshot_manifest(site.store, plan.snapshot)
    lanes = load_lanes(folder)
    together = next((lane.databases for lane in lanes.lanes if database in lane.databases), ())
    return Claim(
        database=database,
        expected={n: e for n, e in _expected(plan, snapshot, folder).items() if n[0] == database},
        definitions=definitions_of(snapshot, database),
        segments=tuple(
            lane_segment(split_folder(folder, number), load_split(folder, number), together)
            for number in range(lanes.segments)
        ),
        seed=int.from_bytes(hashlib.sha256(run.run_id.encode()).digest()[:8], "big"),
        alone=len(together) <= 1,
    )  # fmt: skip


def definitions_of(snapshot: SnapshotManifest, database: str) -> tuple[Definition, ...] | None:
    """What was defined in a database; None where the snapshot was taken by a version that kept only tables."""
    if not snapshot.definitions:
        return None
    tables = (
        Definition(kind="table", database=table.database, name=table.name, text=without_counter(table.create))
        for table in snapshot.tables
    )
    return tuple(one for one in (*tables, *snapshot.definitions) if one.database == database)


def _summary(site: Site, database: str, verdicts: list[TableVerdict]) -> DatabaseVerdict:
    bad = tuple(v for v in verdicts if v.verdict == "mismatch")
    site.progress.say(f"validated {database}: {len(verdicts)} tables, {len(bad)} differ")
    return DatabaseVerdict(
        database=database, matches=sum(v.verdict == "match" for v in verdicts), mismatches=bad[:20],
        inconclusive=tuple(v for v in verdicts if v.verdict == "inconclusive")[:20],
        rows=sum(v.counted or 0 for v in verdicts),
    )  # fmt: skip


def _expected(plan: Plan, snapshot: SnapshotManifest, folder: Path) -> Mapping[TableName, Expected]:
    splits = [load_split(folder, segment.number) for segment in plan.segments]
    operations = [o for split in splits for o in split.operations]
    expected = expected_rows({(t.database, t.name): t.rows for t in snapshot.tables}, operations)
    parents = {name for split in splits for name in split.silent_cascades}
    return doubt_silent_cascades(expected, snapshot.tables, parents)
