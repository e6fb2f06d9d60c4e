"""Everything that is proved of one database. This module tells the story of a verification.

Rows are counted and compared with what snapshot and log say; then the tables' definitions, and what must hold of any
table. Each check looks for itself, on one consistent view, and goes on where another has found something.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from relight.accounting import Expected, TableName
from relight.backups.manifest import Definition, ForeignKey
from relight.errors import StatementFailed
from relight.lane.lane_progress import Position
from relight.lane.segments import LaneSegment
from relight.run_files import CheckResult, TableVerdict, Verdict
from relight.server import definitions
from relight.server.in_memory import tables_in_memory
from relight.server.schema import foreign_keys
from relight.server.session import Session
from relight.verify.bags import compare_bag
from relight.verify.columns import Shape, read_shapes
from relight.verify.content import Compared, compare_rows
from relight.verify.counting import Unread, compare, count_rows, without_views
from relight.verify.definitions import compare_definitions
from relight.verify.images import SAMPLE, LastImages
from relight.verify.integrity import damaged_tables, low_counters, orphans
from relight.verify.log_images import Logged, LogImages, read_images
from relight.verify.reach import Reach, cascading
from relight.verify.witness import Witnessed

ROW_COUNTS, ROW_CONTENT, DEFINITIONS, DAMAGE, COUNTERS, FOREIGN_KEYS = (
    "row counts", "row content", "definitions", "damage", "auto-increment", "foreign keys",
)  # fmt: skip
_INTEGRITY: Mapping[str, tuple[Callable[[Session, str, Collection[str]], tuple[int, list[str]]], Verdict]] = {
    DAMAGE: (damaged_tables, "mismatch"),
    COUNTERS: (low_counters, "mismatch"),
    # The lost source may have had such rows itself.
    FOREIGN_KEYS: (orphans, "inconclusive"),
}


_MOST_BYTES, _LEAST_BYTES = 256 << 20, 1 << 20
"""What the samples of all tables of a database may take in memory; and what each may have at any rate."""


@dataclass(frozen=True)
class Claim:
    """What snapshot and log say of a database: rows of its tables, what was defined in it (None: the snapshot was
    taken by a version that did not ask), and the segments of its lane. ``seed`` draws the sample of rows."""

    database: str
    expected: Mapping[TableName, Expected]
    definitions: tuple[Definition, ...] | None
    segments: tuple[LaneSegment, ...]
    seed: int
    alone: bool = True
    """Whether nothing of other databases is replayed together with it."""
    witness: Callable[[], Witnessed] | None = None
    """Finds out what the statements of the lane make of definitions; asked only where there are such."""
    doubts: Callable[[Sequence[Logged]], Mapping[TableName, str]] | None = None
    """Tells from the lane's statements which tables, in small letters, cannot be proved although all that is known of
    them is right, and why."""
    doubt: str = ""
    """Why that is so of every table of the database."""


def verify_database(session: Session, claim: Claim) -> tuple[list[TableVerdict], list[CheckResult]]:
    """Look at everything; nothing is raised for what is found."""
    _prepare(session)
    checks = []
    began = time.monotonic()
    counts = count_rows(session, claim.database)
    unread = {table: one for (_, table), one in counts.items() if isinstance(one, Unread)}
    verdicts = compare(without_views(claim.expected, session, claim.database), counts)
    counted = time.monotonic()
    shapes, log = read_log(session, claim, claim.seed)
    for table in unread:
        log.forget(table)
    verdicts = _doubted(claim, verdicts, log)
    in_memory = {name for name in tables_in_memory(session) if name[0] == claim.database}
    verdicts = _emptied(verdicts, in_memory, log)
    checks.append(_counted(claim, verdicts, in_memory, began + time.monotonic() - counted))
    began = counted
    compared = _compare_rows(session, claim, shapes, log)
    verdicts = [_with_content(verdict, compared.get(verdict.table)) for verdict in verdicts]
    checks.append(_content(claim, compared, log, began))
    session.run("COMMIT")
    checks.append(_structure(session, claim, log))
    for check, (look, bad) in _INTEGRITY.items():
        began = time.monotonic()
        known = {table for table, one in unread.items() if check != DAMAGE or not one.damaged}
        checked, found = look(session, claim.database, known)
        checks.append(_result(check, claim.database, checked, found, began, bad=bad))
    return verdicts, checks


def read_log(session: Session, claim: Claim, seed: int, most: int = SAMPLE) -> tuple[dict[str, Shape], LogImages]:
    """The tables as they stand, and a sample of the rows that the log has written: at most so many of each table."""
    shapes = read_shapes(session, claim.database)
    images = LastImages(seed, most, max(_LEAST_BYTES, _MOST_BYTES // max(len(shapes), 1)))
    keys = {name[1]: its for name, its in foreign_keys(session).items() if name[0] == claim.database}
    reach = _reach(claim, shapes, keys)
    return shapes, read_images(claim.segments, claim.database, shapes, cascading(keys), reach, images)


def _prepare(session: Session) -> None:
    """One view of all tables; what is read does not depend on how the server is set up."""
    session.run("SET SESSION time_zone = '+00:00', sql_mode = ''")
    session.run("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    session.run("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")


def _reach(claim: Claim, shapes: Mapping[str, Shape], keys: Mapping[str, Iterable[ForeignKey]]) -> Reach | None:
    """None where nobody can tell what a statement may change: programs of other databases may take part."""
    if claim.definitions is None or not claim.alone:
        return None
    return Reach(tuple(shapes), claim.definitions, keys)


def _doubted(claim: Claim, verdicts: Iterable[TableVerdict], log: LogImages) -> list[TableVerdict]:
    """Nothing that is wrong gets any better by a doubt."""
    doubts = claim.doubts(log.logged) if claim.doubts else {}

    def doubted(one: TableVerdict) -> TableVerdict:
        reason = claim.doubt or doubts.get((one.database.lower(), one.table.lower()), "")
        doubtful = reason and one.verdict == "match"
        return one.model_copy(update={"verdict": "inconclusive", "reason": reason}) if doubtful else one

    return [doubted(one) for one in verdicts]


def _emptied(verdicts: Iterable[TableVerdict], in_memory: Collection[TableName], log: LogImages) -> list[TableVerdict]:
    """Where a start of the server has emptied a table since its rows were replayed, nobody can tell what it had."""

    def emptied(one: TableVerdict) -> TableVerdict:
        lost = one.verdict == "mismatch" and one.counted == 0 and one.expected
        if not lost or (one.database, one.table) not in in_memory:
            return one
        log.forget(one.table)
        reason = "it is in memory, and was emptied when the server was started again, as it is at every start"
        return one.model_copy(update={"verdict": "inconclusive", "reason": reason})

    return [emptied(one) for one in verdicts]


def _counted(
    claim: Claim, verdicts: Iterable[TableVerdict], in_memory: Collection[TableName], began: float
) -> CheckResult:
    verdicts = list(verdicts)
    lost = ", ".join(f"{v.database}.{v.table}" for v in verdicts if v.counted and (v.database, v.table) in in_memory)
    notes = (f"in memory, and emptied when the server is started again before it is opened: {lost}",) if lost else ()
    wrong = [f"{v.database}.{v.table}: {v.reason}" for v in verdicts if v.verdict == "mismatch"]
    unsure = [f"{v.database}.{v.table}: {v.reason}" for v in verdicts if v.verdict == "inconclusive"]
    verdict: Verdict = "mismatch" if wrong else "inconclusive" if unsure else "match"
    return CheckResult(
        check=ROW_COUNTS, verdict=verdict, on=claim.database, checked=len(verdicts), findings=(*wrong, *unsure),
        notes=notes, seconds=_since(began),
    )  # fmt: skip


def _compare_rows(
    session: Session, claim: Claim, shapes: Mapping[str, Shape], log: LogImages
) -> dict[str, Compared]:  # fmt: skip
    def named(position: Position) -> str:
        return log.names[position.segment].names.of(position.transaction)

    def looked(compare: Callable[[], Compared], table: str) -> Compared:
        try:
            return compare()
        except StatementFailed as error:  # in the middle: its first rows could be read
            differences = (f"{claim.database}.{table} cannot be read: {error.why}",)
            return Compared(rows=1, whole=False, wrong=1, differences=differences, unreadable=0)

    counted = {table for (_, table), expected in claim.expected.items() if expected.rows is not None}
    found = {
        table: looked(partial(
            compare_rows, session, claim.database, table, shapes[table], images, whole=len(images) == touched,
            named=named,
        ), table)
        for table, images, touched in log.images.tables() if table in counted
    }  # fmt: skip
    bags = {
        table: looked(partial(
            compare_bag, session, claim.database, table, shapes[table], images, whole=whole, named=named
        ), table)
        for table, images, whole in log.bags.tables() if table in counted
    }  # fmt: skip
    return {**found, **bags}


def _with_content(verdict: TableVerdict, compared: Compared | None) -> TableVerdict:
    if compared is None:
        return verdict
    found = verdict.model_copy(update={"compared": compared.rows})
    if compared.varying and not compared.wrong and verdict.verdict == "match":
        return found.model_copy(update={"verdict": "inconclusive", "reason": _varying(compared)})
    if not compared.wrong:
        return found
    reason = f"{compared.wrong} of {compared.rows} rows that were compared are not what the log says"
    return found.model_copy(
        update={"verdict": "mismatch", "reason": "; ".join(filter(None, [verdict.reason, reason]))}
    )  # fmt: skip


def _varying(compared: Compared) -> str:
    return (
        f"{compared.varying} of {compared.rows} rows that were compared differ in columns that are computed with "
        "settings of a session (time zone, SQL mode), which no log carries of rows"
    )


def _content(claim: Claim, compared: Mapping[str, Compared], log: LogImages, began: float) -> CheckResult:
    found = [text for one in compared.values() for text in one.differences]
    because: dict[str, list[str]] = {}
    for table, reason in sorted(log.reasons.items()):
        because.setdefault(reason, []).append(table)
    notes = [f"not compared, {reason}: {claim.database}.{', '.join(tables)}" for reason, tables in because.items()]
    notes += [
        f"{claim.database}.{table}: of {one.unreadable} rows not every value can be told"
        for table, one in compared.items() if one.unreadable
    ]  # fmt: skip
    notes += [f"{claim.database}.{table}: a sample of {o.rows} rows" for table, o in compared.items() if not o.whole]
    unsure = [f"{claim.database}.{table}: {_varying(one)}" for table, one in compared.items() if one.varying]
    checked = sum(one.rows for one in compared.values())
    bad: Verdict = "mismatch" if found else "inconclusive"
    return _result(ROW_CONTENT, claim.database, checked, [*found, *unsure], began, notes=notes, bad=bad)


def _structure(session: Session, claim: Claim, log: LogImages) -> CheckResult:
    began = time.monotonic()
    if claim.definitions is None:
        note = "the snapshot was taken by a version that kept only tables"
        return _result(DEFINITIONS, claim.database, 0, [], began, notes=[note])
    exists = session.rows("SELECT 1 FROM information_schema.schemata WHERE schema_name = %s", claim.database)
    found = definitions.of_database(session, claim.database) if exists else ()
    structure = compare_definitions(claim.definitions, found, log.words, _witness(claim, log))
    result = _result(DEFINITIONS, claim.database, structure.compared, structure.findings, began, notes=structure.notes)
    if not structure.unseen:
        return result
    # Nothing that is wrong gets any better by a doubt.
    verdict: Verdict = "mismatch" if structure.findings else "inconclusive"
    return result.model_copy(update={"verdict": verdict, "findings": (*result.findings, *structure.unseen)})


def _witness(claim: Claim, log: LogImages) -> Witnessed | None:
    if claim.witness is None or not log.words:
        return None
    told = claim.witness()
    return told.model_copy(
        update={"definitions": tuple(one for one in told.definitions if one.database == claim.database)}
    )


def _result(
    check: str, on: str, checked: int, found: Iterable[str], began: float, *, notes: Iterable[str] = (),
    bad: Verdict = "mismatch",
) -> CheckResult:  # fmt: skip
    findings = tuple(found)
    return CheckResult(
        check=check, verdict=bad if findings else "match", on=on, checked=checked, findings=findings,
        notes=tuple(notes), seconds=_since(began),
    )  # fmt: skip


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)
