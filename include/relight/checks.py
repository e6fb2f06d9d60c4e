"""Every check of a rebuilt server: of its databases one by one, and of the server as a whole.

What snapshot and log say is gathered here; :mod:`relight.verify` looks whether it is so. Nothing is raised for what
is found.
"""

from __future__ import annotations

import fcntl
import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from relight.accounting import Expected, TableName, xa_of
from relight.backups.manifest import Definition, LeftOut, SnapshotManifest
from relight.durable import write_whole
from relight.errors import ObjectCorrupt
from relight.gtid import GtidSet
from relight.lane import lane_progress
from relight.lane.segments import LaneSegment, lane_segment
from relight.lane.standalone import SERVER_LANE
from relight.planning.plan import Plan, load_plan, load_snapshot_manifest
from relight.planning.surroundings import is_certain, known_for
from relight.reading import read_json_file
from relight.run_files import CheckResult, Lanes, TableVerdict, Verdict, load_lanes, load_split, split_folder
from relight.server import definitions
from relight.server.definitions import without_counter
from relight.server.empty import empty_server
from relight.server.in_memory import emptied_by_starts
from relight.server.session import Session, connect
from relight.server.zone import same_zone
from relight.site import Run, Site
from relight.verify.computed import in_doubt
from relight.verify.counting import doubt_silent_cascades, expected_counts, unknown_before
from relight.verify.database import ROW_COUNTS, Claim, verify_database
from relight.verify.definitions import compare_definitions
from relight.verify.log_images import Logged, changing_words
from relight.verify.witness import Witnessed, witnessed, witnessed_accounts

_ABOUT_ACCOUNTS = {"user", "role", "grant", "revoke", "password"}
"""One of these words is in every statement that changes accounts, roles or grants."""
HISTORY, LANES, ACCOUNTS, SOURCE_LOG = "history", "lanes", "accounts", "source's log"


def check_database(site: Site, run: Run, database: str) -> tuple[list[TableVerdict], list[CheckResult]]:
    """Counts, contents, definitions and integrity of one database."""
    claim = claim_of(site, run, database)
    with connect(run.server(site.fleet), site.admin) as session:
        return verify_database(session, claim)


def check_server(site: Site, run: Run) -> list[CheckResult]:
    """The checks that belong to no database: history, lanes, accounts."""
    plan, lanes = load_plan(site.store, run), load_lanes(run.folder(site.fleet))
    with connect(run.server(site.fleet), site.admin) as session:
        return [
            _history(site, run, plan, lanes, session),
            _all_replayed(run, lanes, session),
            _source_log(run, plan),
            _accounts(site, run, plan, lanes, session),
        ]


def told(verdict: Verdict, verdicts: Iterable[TableVerdict], checks: Iterable[CheckResult]) -> Iterator[str]:
    """Everything with this verdict, in words. Rows are told table by table."""
    for one in verdicts:
        if one.verdict == verdict:
            yield f"{one.database}.{one.table}: {one.reason} (expected {one.expected}, counted {one.counted})"
    for check in checks:
        if check.verdict == verdict and check.check != ROW_COUNTS:
            yield from (f"{check.check}: {finding}" for finding in check.findings)


def claim_of(site: Site, run: Run, database: str) -> Claim:
    """What snapshot and log say of a database."""
    folder = run.folder(site.fleet)
    plan = load_plan(site.store, run)
    snapshot = load_snapshot_manifest(site.store, plan.snapshot)
    lanes = load_lanes(folder)
    together = next((lane.databases for lane in lanes.lanes if database in lane.databases), ())
    return Claim(
        database=database,
        expected={n: e for n, e in _expected(plan, snapshot, folder).items() if n[0] == database},
        definitions=_defined(snapshot, database),
        segments=_segments(folder, lanes, together),
        seed=int.from_bytes(hashlib.sha256(run.run_id.encode()).digest()[:8], "big"),
        alone=len(together) <= 1, witness=lambda: _witness(site, run, snapshot, lanes, together),
        doubt=_left_out(plan, database), doubts=lambda logged: _doubts(site, run, plan, snapshot, logged),
    )  # fmt: skip


def _doubts(
    site: Site, run: Run, plan: Plan, snapshot: SnapshotManifest, logged: Sequence[Logged]
) -> Mapping[TableName, str]:  # fmt: skip
    """Tables whose values were computed with what no log carries, or in another time zone than the source's."""
    here: dict[str, bool] = {}

    def zone_is_right(number: int) -> bool:
        known = known_for(plan, number)
        if known is None or not is_certain(plan, number):
            return False
        if known.zone.digest not in here:
            # Another session than the one that looks at everything: it is put into other zones.
            with connect(run.server(site.fleet), site.admin) as session:
                here[known.zone.digest] = same_zone(session, known.zone) is not None
        return here[known.zone.digest]

    return in_doubt(logged, {(table.database, table.name): table.create for table in snapshot.tables}, zone_is_right)


def _left_out(plan: Plan, database: str) -> str:
    """Why nothing can be said of a database; empty where something can."""
    if any(one.leaves_out(database) for one in _logs(plan)):
        return "the source does not log this database: what was changed in it since the full backup is in no log"
    return ""


def _logs(plan: Plan) -> list[LeftOut]:
    """What the sources of the plan's logs do not log; of a replica's source too, which the replica got nothing of."""
    found = [plan.snapshot.left_out, *(planned.segment.left_out for planned in plan.segments)]
    return [one for one in found if one is not None]


def _witness(
    site: Site, run: Run, snapshot: SnapshotManifest, lanes: Lanes, together: Sequence[str]
) -> Witnessed:  # fmt: skip
    """What the lane's statements make of the definitions of its databases: found out once, whoever needs it first."""
    folder, server = run.folder(site.fleet), run.server(site.fleet)
    number = next(lane.number for lane in lanes.lanes if set(together) <= set(lane.databases))
    path = folder / "witness" / f"{number:05d}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # given back by the kernel when this process ends, however it ends
        try:
            return read_json_file(Witnessed, path, "a witness")
        except (FileNotFoundError, ObjectCorrupt):  # nobody has needed it, or it was cut: it is made of the logs
            base = [one for database in together for one in _defined(snapshot, database) or ()]
            with empty_server(server) as session:
                found = witnessed(session, base, _segments(folder, lanes, together))
            write_whole(path, found.model_dump_json())
            return found


def _segments(folder: Path, lanes: Lanes, together: Sequence[str]) -> tuple[LaneSegment, ...]:
    return tuple(
        lane_segment(split_folder(folder, number), load_split(folder, number), together)
        for number in range(lanes.segments)
    )


def _defined(snapshot: SnapshotManifest, database: str) -> tuple[Definition, ...] | None:
    """What was defined in a database; None where the snapshot was taken by a version that kept only tables."""
    if not snapshot.definitions:
        return None
    tables = (
        Definition(kind="table", database=table.database, name=table.name, text=without_counter(table.create))
        for table in snapshot.tables
    )
    return tuple(one for one in (*tables, *snapshot.definitions) if one.database == database)


def _expected(plan: Plan, snapshot: SnapshotManifest, folder: Path) -> Mapping[TableName, Expected]:
    splits = [load_split(folder, segment.number) for segment in plan.segments]
    operations = [*unknown_before(snapshot.tables), *(o for split in splits for o in split.operations)]
    expected = expected_counts(snapshot.tables, snapshot.definitions or None, operations)
    parents = {name for split in splits for name in split.silent_cascades}
    return doubt_silent_cascades(expected, snapshot.tables, parents)


def _history(site: Site, run: Run, plan: Plan, lanes: Lanes, session: Session) -> CheckResult:
    """The plan's transactions taken and no others, nothing executed besides, but what every server does by itself."""
    began = time.monotonic()
    found = []
    if plan.end_gtids is not None and plan.end_gtids != lanes.end_gtids:
        found.append(f"missing {plan.end_gtids - lanes.end_gtids}, extra {lanes.end_gtids - plan.end_gtids}")
    folder = run.folder(site.fleet)
    splits = [load_split(folder, number) for number in range(lanes.segments)]
    # What lanes say they end with was planned; what the splits say was read from the logs.
    read = plan.snapshot.gtids
    for split in splits:
        read = read | split.taken
    if read != lanes.end_gtids:
        missing, extra = lanes.end_gtids - read, read - lanes.end_gtids
        found.append(f"of the logs were not replayed: {missing or 'none'}, beyond the plan: {extra or 'none'}")
    executed = GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))
    uuid = str(session.value("SELECT @@server_uuid"))
    by_itself = executed - plan.snapshot.gtids
    by_itself = by_itself - emptied_by_starts(session, by_itself)
    # Replay logs what it does for XA transactions, and nothing else: each at most once.
    logged = sum(len(xa_of(split.operations)) for split in splits)
    if by_itself and (set(by_itself.streams) != {uuid} or by_itself.count() > logged):
        found.append(f"the server executed {by_itself} by itself")
    if missing := plan.snapshot.gtids - executed:
        found.append(f"the server misses {missing} of its snapshot")
    return _result(HISTORY, run, lanes.end_gtids.count(), found, began)


def _all_replayed(run: Run, lanes: Lanes, session: Session) -> CheckResult:
    """Every lane is at its end."""
    began = time.monotonic()
    states = {state.lane: state for state in lane_progress.load_all(session)}
    found = []
    for lane in lanes.lanes:
        state = states.get(lane.name)
        if state is None or not state.finished:
            done = state.bytes_done if state else 0
            found.append(f"lane {lane.name}: {done} of {lane.bytes} bytes replayed")
    return _result(LANES, run, len(lanes.lanes), found, began)


def _source_log(run: Run, plan: Plan) -> CheckResult:
    """The log is all that was written. Where it may not be, a person decides; nobody can find out what is missing."""
    began = time.monotonic()
    logs = _logs(plan)
    found = dict.fromkeys(text for one in logs for text in one.missing)
    if any(one.only or one.without for one in logs):
        found["sessions whose default database is not logged may have changed tables of others without it"] = None
    notes = dict.fromkeys(text for one in logs for text in one.notes)
    result = _result(SOURCE_LOG, run, len(logs), tuple(found), began, tuple(notes))
    return result.model_copy(update={"verdict": "inconclusive"}) if found else result


def _accounts(site: Site, run: Run, plan: Plan, lanes: Lanes, session: Session) -> CheckResult:
    """Accounts, roles and grants are those of the snapshot, but for what the log has changed."""
    began = time.monotonic()
    snapshot = load_snapshot_manifest(site.store, plan.snapshot)
    expected = [one for one in snapshot.definitions if one.kind == "account"]
    if not expected:
        return _result(ACCOUNTS, run, 0, [], began, ["the snapshot was taken by a version that kept only tables"])
    together = next((lane.databases for lane in lanes.lanes if SERVER_LANE in lane.databases), ())
    segments = _segments(run.folder(site.fleet), lanes, together)
    words = changing_words(segments)
    found, witness = definitions.of_accounts(session), None
    if any(definitions.is_digest(one) for one in expected):
        found = tuple(definitions.digested(found))
    elif words & _ABOUT_ACCOUNTS:
        with empty_server(session.server) as empty:
            witness = witnessed_accounts(empty, expected, segments)
    structure = compare_definitions(expected, found, words, witness)
    return _result(ACCOUNTS, run, structure.compared, structure.findings, began, structure.notes)


def _result(
    check: str, run: Run, checked: int, findings: Sequence[str], began: float, notes: Sequence[str] = ()
) -> CheckResult:
    return CheckResult(
        check=check, verdict="mismatch" if findings else "match", on=run.shard, checked=checked,
        findings=tuple(findings), notes=tuple(notes), seconds=round(time.monotonic() - began, 3),
    )  # fmt: skip
