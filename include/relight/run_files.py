"""What steps leave for later steps in the run's folder, on the rebuilt server's machine.

Every file appears under its name only when it is whole, so a step that finds it need not doubt it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from relight.accounting import Operation
from relight.backups.manifest import GtidField, Surroundings, Tie, Value
from relight.errors import PlanError, ValidationFailed

Verdict = Literal["match", "mismatch", "inconclusive"]

DATABASES_SHOWN = 100


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
    seconds: float


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
    """The result of a finished split. :raises PlanError: that segment was not split yet."""
    path = split_folder(run_folder, number) / "result.json"
    try:
        return SplitResult.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PlanError("a segment was not split", on=str(number), why=f"{path} is missing",
                        hint="run the split step of that segment first, on the same machine") from None  # fmt: skip


def load_skipped(split_folder: Path) -> SplitResult:
    """What a finished split left out on purpose."""
    return SplitResult.model_validate_json((skipped_folder(split_folder) / "result.json").read_text(encoding="utf-8"))


def lanes_path(run_folder: Path) -> Path:
    """Where the lanes of a run are kept."""
    return run_folder / "lanes.json"


def load_lanes(run_folder: Path) -> Lanes:
    """The lanes of a run, as :func:`plan_lanes` left them. :raises PlanError: it did not get that far."""
    path = lanes_path(run_folder)
    try:
        return Lanes.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PlanError("the run has no lanes yet", on=run_folder.name, why=f"{path} is missing",
                        hint="check the run's id, and that this is the machine it works on") from None  # fmt: skip


def load_verdicts(run_folder: Path) -> list[TableVerdict]:
    """Every table's verdict. :raises ValidationFailed: a database was not validated."""
    lanes = load_lanes(run_folder)
    found = []
    for database in lanes.databases:
        path = verdict_path(run_folder, lanes, database)
        if not path.exists():
            raise ValidationFailed("a database was not validated", on=database, hint="run its validation first")
        lines = path.read_text(encoding="utf-8").splitlines()
        found += [TableVerdict.model_validate_json(line) for line in lines]
    return found


def verdict_path(folder: Path, lanes: Lanes, database: str) -> Path:
    """Where the verdicts of a database's tables lie, one JSON document a line."""
    return folder / "verdicts" / f"{lanes.databases.index(database):05d}.jsonl"


def checks_path(run_folder: Path, name: str) -> Path:
    """Where the results of checks lie: of a database (by its number among the validated), or of the server."""
    return run_folder / "checks" / f"{name}.jsonl"


def load_checks(run_folder: Path) -> list[CheckResult]:
    """The results of every check that was made."""
    lines = [
        line for path in sorted((run_folder / "checks").glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]  # fmt: skip
    return [CheckResult.model_validate_json(line) for line in lines]


def judgement_path(run_folder: Path) -> Path:
    """The judgement; it exists only where nothing differs."""
    return run_folder / "judgement.json"


def load_judgement(run_folder: Path) -> Judgement:
    """The judgement that was made last."""
    return Judgement.model_validate_json(judgement_path(run_folder).read_text(encoding="utf-8"))


def certificate_path(run_folder: Path) -> Path:
    """The signed certificate; without one nothing is promoted."""
    return run_folder / "certificate.json"


def write_whole(path: Path, text: str) -> None:
    """Write a file that appears under its name at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
