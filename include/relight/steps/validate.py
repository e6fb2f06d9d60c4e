"""Steps: prove the rebuilt data against snapshot and log, before anyone is let in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from relight.accounting import Expected, TableName, expected_rows, xa_of
from relight.backups.manifest import GtidField, Table, Value
from relight.errors import ValidationFailed
from relight.gtid import GtidSet
from relight.lane import lane_progress
from relight.planning.plan import load_plan, load_snapshot_manifest
from relight.run_files import (
    Lanes,
    TableVerdict,
    Verdict,
    judgement_path,
    load_lanes,
    load_split,
    load_verdicts,
    verdict_path,
    write_whole,
)
from relight.server.rebuilt import read_mark
from relight.server.session import Session, connect, quoted
from relight.site import Run, Site
from relight.steps.stepping import step


class DatabaseVerdict(Value):
    """All tables of one database. The tables themselves lie in the run's folder."""

    database: str
    matches: int
    mismatches: tuple[TableVerdict, ...]
    inconclusive: tuple[TableVerdict, ...]
    rows: int


class Judgement(Value):
    """The whole shard."""

    verdict: Verdict
    tables: int
    rows: int
    inconclusive: tuple[str, ...]
    gtids: GtidField


@step("validate")
def validate_database(site: Site, run: Run, database: str) -> DatabaseVerdict:
    """Count every table of a database on one consistent view and compare with what the log says.

    Does not raise on a mismatch: every database is looked at before :func:`judge` decides.
    """
    folder = run.folder(site.fleet)
    if _promoted(site, run):
        return _summary(site, database, [v for v in load_verdicts(folder) if v.database == database])
    expected = {n: e for n, e in _expected(site, run, folder).items() if n[0] == database}
    with connect(run.server(site.fleet), site.admin) as session:
        counted = count_rows(session, database)
    verdicts = compare(expected, counted)
    write_whole(verdict_path(folder, load_lanes(folder), database), "\n".join(v.model_dump_json() for v in verdicts))
    return _summary(site, database, verdicts)


def _promoted(site: Site, run: Run) -> bool:
    """Whether this run's server is open already: applications write to it, and its verdicts stand."""
    mark = read_mark(run.server(site.fleet).datadir)
    if mark is None or mark.run_id != run.run_id or mark.state != "promoted":
        return False
    site.progress.say(f"{run.shard} was promoted by this run: the verdicts from before stand")
    return True


def _summary(site: Site, database: str, verdicts: list[TableVerdict]) -> DatabaseVerdict:
    bad = tuple(v for v in verdicts if v.verdict == "mismatch")
    site.progress.say(f"validated {database}: {len(verdicts)} tables, {len(bad)} differ")
    return DatabaseVerdict(
        database=database, matches=sum(v.verdict == "match" for v in verdicts), mismatches=bad[:20],
        inconclusive=tuple(v for v in verdicts if v.verdict == "inconclusive")[:20],
        rows=sum(v.counted or 0 for v in verdicts),
    )  # fmt: skip


@step("judge")
def judge(site: Site, run: Run) -> Judgement:
    """Decide from every verdict, every lane's position and the GTID sets whether the shard is right.

    :raises ValidationFailed: with a table of what differs. The server stays closed.
    """
    folder = run.folder(site.fleet)
    if _promoted(site, run):
        return Judgement.model_validate_json(judgement_path(folder).read_text(encoding="utf-8"))
    judgement_path(folder).unlink(missing_ok=True)  # an earlier one must not outlive this one's doubts
    lanes = load_lanes(folder)
    verdicts = load_verdicts(folder)
    problems = [_described(v) for v in verdicts if v.verdict == "mismatch"]
    problems += _history_problems(site, run, lanes)
    unsure = tuple(f"{v.database}.{v.table}: {v.reason}" for v in verdicts if v.verdict == "inconclusive")
    if unsure and not run.accept_inconclusive:
        problems += [f"{text} (inconclusive)" for text in unsure]
    if problems:
        site.progress.say("\n".join(["what differs:", *(f"  {p}" for p in problems)]))
        raise ValidationFailed(
            f"{len(problems)} checks failed", on=run.shard, why="; ".join(problems[:10]),
            hint="the server stays closed. Inconclusive tables can be accepted with accept_inconclusive; "
            "a mismatch cannot",
        )  # fmt: skip
    judgement = Judgement(
        verdict="inconclusive" if unsure else "match", tables=len(verdicts),
        rows=sum(v.counted or 0 for v in verdicts), inconclusive=unsure, gtids=lanes.end_gtids,
    )  # fmt: skip
    write_whole(judgement_path(folder), judgement.model_dump_json())
    site.progress.say(f"verdict: {judgement.verdict}, {judgement.tables} tables, {judgement.rows} rows")
    return judgement


def _expected(site: Site, run: Run, folder: Path) -> Mapping[TableName, Expected]:
    plan = load_plan(site.store, run)
    manifest = load_snapshot_manifest(site.store, plan.snapshot)
    splits = [load_split(folder, segment.number) for segment in plan.segments]
    operations = [o for split in splits for o in split.operations]
    expected = expected_rows({(t.database, t.name): t.rows for t in manifest.tables}, operations)
    parents = {name for split in splits for name in split.silent_cascades}
    return doubt_silent_cascades(expected, manifest.tables, parents)


def doubt_silent_cascades(
    expected: Mapping[TableName, Expected], tables: Sequence[Table], parents: Iterable[TableName]
) -> dict[TableName, Expected]:
    """Pure: where rows were deleted from ``parents`` and the log does not say what their cascades deleted, the
    log cannot tell how many rows the tables below them have."""
    below: dict[TableName, list[TableName]] = {}
    for table in tables:
        for key in table.foreign_keys:
            if key.on_delete == "CASCADE":
                below.setdefault((key.parent_database, key.parent_table), []).append((table.database, table.name))
    doubted: set[TableName] = set()
    waiting = [child for parent in parents for child in below.get(parent, ())]
    while waiting:
        table_name = waiting.pop()
        if table_name not in doubted:
            doubted.add(table_name)
            waiting += below.get(table_name, ())
    reason = "rows were deleted by a cascading foreign key, which this source does not log"
    return {
        name: one.model_copy(update={"rows": None, "reason": reason}) if name in doubted else one
        for name, one in expected.items()
    }


def count_rows(session: Session, database: str) -> dict[TableName, int]:
    """Exact counts of every base table of a database, on one consistent view."""
    session.run("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    session.run("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
    tables = session.rows(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND table_type = 'BASE TABLE'",
        database,
    )
    counts = {
        (database, str(name)): int(session.value(f"SELECT COUNT(*) FROM {quoted(database, str(name))}"))
        for (name,) in tables
    }
    session.run("COMMIT")
    return counts


def compare(expected: Mapping[TableName, Expected], counted: Mapping[TableName, int]) -> list[TableVerdict]:
    """Pure: a verdict for every table that should be there or is."""
    return [_verdict(name, expected.get(name), counted.get(name)) for name in sorted({*expected, *counted})]


def _verdict(name: TableName, expected: Expected | None, counted: int | None) -> TableVerdict:
    verdict: Verdict = "mismatch"
    reason = ""
    if expected is None:
        reason = "the table should not exist"
    elif counted is None:
        reason = "the table is missing"
    elif expected.rows is None:
        verdict, reason = "inconclusive", expected.reason
    elif expected.rows == counted:
        verdict = "match"
    else:
        reason = f"{counted - expected.rows:+d} rows"
    return TableVerdict(
        database=name[0], table=name[1], verdict=verdict, expected=expected.rows if expected else None,
        counted=counted, inserted=expected.inserted if expected else 0, deleted=expected.deleted if expected else 0,
        reason=reason,
    )  # fmt: skip


def _described(v: TableVerdict) -> str:
    return f"{v.database}.{v.table}: {v.reason} (expected {v.expected}, counted {v.counted})"


def _history_problems(site: Site, run: Run, lanes: Lanes) -> list[str]:
    """Every lane at its end, the plan's transactions taken and no others, nothing executed besides."""
    plan = load_plan(site.store, run)
    problems = []
    if plan.end_gtids is not None and plan.end_gtids != lanes.end_gtids:
        problems.append(
            f"history: missing {plan.end_gtids - lanes.end_gtids}, extra {lanes.end_gtids - plan.end_gtids}"
        )
    with connect(run.server(site.fleet), site.admin) as session:
        states = {state.lane: state for state in lane_progress.load_all(session)}
        executed = GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))
        uuid = str(session.value("SELECT @@server_uuid"))
    by_itself = executed - plan.snapshot.gtids
    # Replay logs what it does for XA transactions, and nothing else: each at most once.
    logged = sum(len(xa_of(load_split(run.folder(site.fleet), number).operations)) for number in range(lanes.segments))
    if by_itself and (set(by_itself.streams) != {uuid} or by_itself.count() > logged):
        problems.append(f"history: the server executed {by_itself} by itself")
    if missing := plan.snapshot.gtids - executed:
        problems.append(f"history: the server misses {missing} of its snapshot")
    for lane in lanes.lanes:
        state = states.get(lane.name)
        if state is None or not state.finished:
            done = state.bytes_done if state else 0
            problems.append(f"lane {lane.name}: {done} of {lane.bytes} bytes replayed")
    return problems
