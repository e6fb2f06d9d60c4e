"""What steps leave for later steps in the run's folder, on the rebuilt server's machine.

Every file appears under its name only when it is whole and written out (:mod:`relight.durable`). One that is cut or
empty all the same is as good as none: the step that makes it makes it again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from relight.accounting import Operation
from relight.backups.manifest import GtidField, Surroundings, Tie, Value
from relight.errors import ObjectCorrupt, PlanError, ValidationFailed
from relight.reading import read_json_file

Verdict = Literal["match", "mismatch", "inconclusive"]

DATABASES_SHOWN = 100

NAMES = "transactions.npy"
"""The file with the names of a segment's transactions, beside its streams."""


class TableVerdict(Value):
    """One table: what it must hold, what it holds, and what follows from that."""

    database: str
    table: str
    verdict: Verdict
    expected: int | None
    counted: int | None
    inserted: int
    deleted: int
    reason: str = ""
    compared: int = 0
    """How many rows were compared with what the log says, column by column."""


class CheckResult(Value):
    """One check of one database, or of the whole server: what it looked at and what it found.

    ``checked``: how many things were looked at. ``findings``: what is wrong, in words. ``notes``: what was not
    looked at, and why.
    """

    check: str
    verdict: Verdict
    on: str
    checked: int
    findings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


class DatabaseVerdicts(Value):
    """How the tables of one database were judged, in numbers."""

    database: str
    match: int = 0
    mismatch: int = 0
    inconclusive: int = 0
    rows: int = 0

    @property
    def tables(self) -> int:
        """All of them."""
        return self.match + self.mismatch + self.inconclusive


class Judgement(Value):
    """The whole shard."""

    verdict: Verdict
    tables: int
    rows: int
    inconclusive: tuple[str, ...]
    gtids: GtidField
    databases: tuple[DatabaseVerdicts, ...] = ()
    """Those with doubts first; at most :data:`DATABASES_SHOWN`, since a person reads it."""


class StreamInfo(Value):
    """One stream file of a split segment."""

    database: str
    file: str
    bytes: int
    """Of the events that it holds."""
    file_bytes: int
    """Of the file: one of another size was not written out before the machine lost its power."""


class SplitResult(Value):
    """What a segment held, up to the target. Kept as ``result.json`` beside its stream files."""

    number: int
    file: str
    """The log file, as its server called it."""
    sources: tuple[str, ...]
    """The streams that the GTIDs of the file belong to, in the order in which the names of its transactions
    refer to them."""
    taken: GtidField
    transactions: int
    row_events: int
    log_bytes: int
    streams: tuple[StreamInfo, ...]
    ties: tuple[Tie, ...]
    operations: tuple[Operation, ...]
    silent_cascades: tuple[tuple[str, str], ...] = ()
    """Tables that lost rows in a log which does not say what cascading foreign keys deleted with them."""
    numbered: tuple[str, ...] = ()
    """Databases in whose streams a statement may number rows in the order in which they lie."""
    surroundings: Surroundings | None = None
    """What the server that wrote the file computed with, as far as is known."""
    cut_at: int | None = None
    """Where the unfinished transaction begins that the file ends with, because its server crashed."""
    names_bytes: int
    """Of the file with the names of its transactions."""
    seconds: float


class Verdicts(Value):
    """Every table of a database. A file of lines would not tell that some are missing, or all."""

    tables: tuple[TableVerdict, ...]


class Checks(Value):
    """The results of checks of a database, or of the server."""

    checks: tuple[CheckResult, ...]


class Lane(Value):
    """One independent replay stream: one database of the shard, or several that are tied."""

    number: int
    name: str
    """Its databases, joined by ``+``."""
    databases: tuple[str, ...]
    bytes: int
    connections: int = 1
    """How many it writes with at the same time."""
    keeps_row_order: bool = False
    """Whether tables without a primary key go in order, since something numbers their rows as they lie."""


class LaneGroup(Value):
    """Lanes that one task replays, one after the other."""

    number: int
    label: str
    lanes: tuple[int, ...]
    bytes: int


class Lanes(Value):
    """All lanes of a run. Kept as ``lanes.json`` in the run's folder."""

    lanes: tuple[Lane, ...]
    groups: tuple[LaneGroup, ...]
    databases: tuple[str, ...]
    """Every database to be validated."""
    end_gtids: GtidField
    """What the rebuilt server will have executed."""
    segments: int
    transactions: int
    log_bytes: int


def split_folder(run_folder: Path, number: int) -> Path:
    """Where the streams of segment ``number`` lie."""
    return run_folder / "split" / f"{number:06d}"


def skipped_folder(split_folder: Path) -> Path:
    """Where the streams of the transactions lie that a plan leaves out of a segment."""
    return split_folder / "skipped"


def load_split(run_folder: Path, number: int) -> SplitResult:
    """The result of a finished split.

    :raises PlanError: that segment was not split yet. ObjectCorrupt: its result cannot be read, or not all of it is
        there any more; splitting it again makes it anew.
    """
    return load_split_in(split_folder(run_folder, number))


def load_split_in(folder: Path) -> SplitResult:
    """The same, of what lies in a folder."""
    try:
        result = read_json_file(SplitResult, folder / "result.json", "the result of a split")
    except FileNotFoundError:
        raise PlanError("a segment was not split", on=folder.name, why=f"{folder} has no result",
                        hint="run the split step of that segment first, on the same machine") from None  # fmt: skip
    wanted = {NAMES: result.names_bytes} | {stream.file: stream.file_bytes for stream in result.streams}
    for name, size in wanted.items():
        if not (folder / name).is_file() or (folder / name).stat().st_size != size:
            raise ObjectCorrupt(
                "a file of a split segment was cut, or is gone", on=str(folder / name), why=f"it had {size} bytes",
                hint="run the split step of that segment again, on the same machine",
            )  # fmt: skip
    return result


def load_skipped(split_folder: Path) -> SplitResult:
    """What a finished split left out on purpose. :raises: as :func:`load_split`."""
    return load_split_in(skipped_folder(split_folder))


def lanes_path(run_folder: Path) -> Path:
    """Where the lanes of a run are kept."""
    return run_folder / "lanes.json"


def load_lanes(run_folder: Path) -> Lanes:
    """The lanes of a run, as :func:`plan_lanes` left them. :raises PlanError: it did not get that far.

    ObjectCorrupt: they cannot be read; the step that plans lanes makes them anew.
    """
    path = lanes_path(run_folder)
    try:
        return read_json_file(Lanes, path, "the lanes of a run")
    except FileNotFoundError:
        raise PlanError("the run has no lanes yet", on=run_folder.name, why=f"{path} is missing",
                        hint="check the run's id, and that this is the machine it works on") from None  # fmt: skip


def load_verdicts(run_folder: Path) -> list[TableVerdict]:
    """Every table's verdict. :raises ValidationFailed: a database was not validated."""
    lanes = load_lanes(run_folder)
    found: list[TableVerdict] = []
    for database in lanes.databases:
        try:
            found += read_json_file(Verdicts, verdict_path(run_folder, lanes, database), "a verdict").tables
        except FileNotFoundError:
            raise ValidationFailed(
                "a database was not validated", on=database, hint="run its validation first"
            ) from None
        except ObjectCorrupt as error:
            raise ValidationFailed(
                "a database was not validated", on=database, why=str(error), hint="run its validation again"
            ) from None
    return found


def verdict_path(folder: Path, lanes: Lanes, database: str) -> Path:
    """Where the verdicts of a database's tables lie, all in one document."""
    return folder / "verdicts" / f"{lanes.databases.index(database):05d}.json"


def checks_path(run_folder: Path, name: str) -> Path:
    """Where the results of checks lie: of a database (by its number among the validated), or of the server."""
    return run_folder / "checks" / f"{name}.json"


def load_checks(run_folder: Path) -> list[CheckResult]:
    """The results of every check that was made. :raises ValidationFailed: some cannot be read."""
    try:
        return [
            check for path in sorted((run_folder / "checks").glob("*.json"))
            for check in read_json_file(Checks, path, "the result of checks").checks
        ]  # fmt: skip
    except ObjectCorrupt as error:
        raise ValidationFailed(
            "the results of checks cannot be read", on=error.on, why=error.why, hint="run validation again"
        ) from None


def judgement_path(run_folder: Path) -> Path:
    """The judgement; it exists only where nothing differs."""
    return run_folder / "judgement.json"


def load_judgement(run_folder: Path) -> Judgement:
    """The judgement that was made last. :raises ValidationFailed: there is none, or it cannot be read."""
    path = judgement_path(run_folder)
    try:
        return read_json_file(Judgement, path, "the judgement")
    except (FileNotFoundError, ObjectCorrupt) as error:
        why = "there is none" if isinstance(error, FileNotFoundError) else str(error)
        raise ValidationFailed("the shard was not judged", on=run_folder.name, why=why, hint="judge it again") from None


def certificate_path(run_folder: Path) -> Path:
    """The signed certificate; without one nothing is promoted."""
    return run_folder / "certificate.json"
