"""What the store says about each snapshot and each segment: the two manifests.

A manifest is uploaded after everything it names, so whatever a manifest names is there.
Times are UTC; sizes are bytes; digests are SHA-256 of the stored (compressed) object, in hex.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from relight.backups.names import DataPath, FileName
from relight.gtid import GtidSet


def _as_gtids(value: object) -> object:
    return GtidSet.parse(value) if isinstance(value, str) else value


GtidField = Annotated[GtidSet, BeforeValidator(_as_gtids), PlainSerializer(str, return_type=str)]
"""A GTID set that is text in JSON."""


class Value(BaseModel):
    """A frozen value that is written as JSON and refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)


Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
Size = Annotated[int, Field(ge=0, le=2**50)]
"""Bytes; at most a pebibyte."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ServerUuid = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]


class Extent(Value):
    """A run of bytes of one data file, inside a part."""

    path: DataPath
    """Relative to the data directory."""
    offset: Size
    length: Annotated[Size, Field(gt=0)]


class Part(Value):
    """One compressed object of a snapshot: its extents, one after the other, as one zstd frame."""

    key: str
    sha256: Sha256
    size: Annotated[Size, Field(gt=0)]
    extents: tuple[Extent, ...]


class ForeignKey(Value):
    """A foreign key, as far as lanes and accounting care."""

    name: str
    columns: tuple[str, ...]
    parent_database: str
    parent_table: str
    on_delete: str
    on_update: str


class Table(Value):
    """A table as it stood in the snapshot, with its exact row count."""

    database: str
    name: str
    engine: str
    rows: Count
    primary_key: tuple[str, ...] = ()
    unique_keys: tuple[tuple[str, ...], ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    create: str
    """``SHOW CREATE TABLE``; empty where the server cannot show it."""
    unreadable: str = ""
    """Why the copied server could not read it either, which is no damage: its tablespace was discarded, or the tables
    that it merges do not fit. ``rows`` says nothing then."""

    @property
    def full_name(self) -> str:
        """``database.table``."""
        return f"{self.database}.{self.name}"


class Event(Value):
    """A scheduled event. A copy of a replica has every event switched off, so what it was on the
    source is kept here."""

    database: str
    name: str
    enabled_on_source: bool


class Definition(Value):
    """What an object was defined as: ``SHOW CREATE``, but for what a copy changes by itself; of an account a hash."""

    kind: str
    """``database``, ``table``, ``view``, ``procedure``, ``function``, ``trigger``, ``event``, ``account``."""
    database: str
    name: str
    text: str

    @property
    def full_name(self) -> str:
        """``database.name``, or the name of what belongs to no database."""
        return f"{self.database}.{self.name}" if self.database and self.kind != "database" else self.name


ZoneName = Annotated[
    str, Field(pattern=r"^(|[A-Za-z][A-Za-z0-9_+/-]{0,63}|<[+-][0-9]{4}>[+-][0-9]{2}:[0-9]{2}:[0-9]{2})$")
]
"""A name of the time zone database, or POSIX's way to write an offset: nothing that names a file, or ends a string."""


class SystemZone(Value):
    """What a server's time zone ``SYSTEM`` means: it comes from the machine, or from ``TZ`` of the process."""

    name: ZoneName = ""
    """What ``TZ`` must be to have it; empty where nothing is known that would."""
    offset: int | None = None
    """Seconds east of UTC, where that has never changed since 1970."""
    digest: str
    """SHA-256 over every change of the offset from 1970 to 2037: equal where all times are equal."""


FOLDING = "lower_case_table_names"


class Surroundings(Value):
    """What a server computes with, and no log carries. See :mod:`relight.server.surroundings`."""

    server_uuid: str
    variables: dict[str, str]
    """Global values of the settings that sessions begin with; and ``lower_case_table_names``."""
    zone: SystemZone

    @property
    def folds_names(self) -> bool:
        """Whether the server keeps names of databases and tables in small letters, however a statement writes them."""
        return self.variables.get(FOLDING, "0") != "0"


class LeftOut(Value):
    """What is not in a source's log, or may not be."""

    only: tuple[str, ...] = ()
    """``binlog-do-db``: nothing but these databases is logged; empty where that is not set."""
    without: tuple[str, ...] = ()
    """``binlog-ignore-db``: these are not."""
    gaps: tuple[str, ...] = ()
    """What else may be in no log, in words."""
    notes: tuple[str, ...] = ()
    """What is logged, and in a way that proves or restores less than it could."""
    exact: bool = False
    """Whether the server tells names of databases apart by their case; older versions of Relight did not ask."""

    def leaves_out(self, database: str) -> bool:
        """Whether changes of a database are not logged. Where both options are set, the server asks the first alone."""
        if self.only:
            return not self._among(database, self.only)
        return self._among(database, self.without)

    def _among(self, database: str, names: tuple[str, ...]) -> bool:
        return database in names if self.exact else database.lower() in {name.lower() for name in names}

    @property
    def missing(self) -> tuple[str, ...]:
        """What is in no log, or may be in none, in words."""
        found = [f"the source logs nothing but {', '.join(self.only)} (binlog-do-db)"] if self.only else []
        if self.without:
            found.append(f"the source does not log {', '.join(self.without)} (binlog-ignore-db)")
        return (*found, *self.gaps)

    @property
    def told(self) -> tuple[str, ...]:
        """All of it, in words."""
        return (*self.missing, *self.notes)


class SnapshotManifest(Value):
    """One full backup that has booted."""

    version: Literal[1] = 1
    id: str
    """``20261122T190211Z-1a2b3c4d``: when it was taken and the first digits of the server's UUID."""
    shard: str
    server_uuid: ServerUuid
    server_name: str
    mysql_version: str
    taken_at: AwareDatetime
    gtids: GtidField
    """Exactly the transactions the copy holds."""
    databases: tuple[str, ...]
    """Application databases, with or without tables."""
    tables: tuple[Table, ...]
    events: tuple[Event, ...] = ()
    definitions: tuple[Definition, ...] = ()
    """Of everything but tables, whose definitions stand with them; empty in what an older version took."""
    files: tuple[tuple[DataPath, Size], ...]
    """Every data file and its size, empty ones included."""
    directories: tuple[DataPath, ...]
    parts: tuple[Part, ...]
    data_bytes: Size
    stored_bytes: Size
    surroundings: Surroundings | None = None
    """The source's; the copied server's where the source did not answer. None in what an older version took."""
    left_out: LeftOut | None = None
    """Of the source's log, where a replica was copied, which got nothing else."""
    behind: GtidField | None = None
    """What the source had when the copy was taken and the copy has not. None where nobody knows."""
    as_of: AwareDatetime | None = None
    """Where something is ``behind``: the commit time up to which the copy goes, as far as the replica says."""
    notes: tuple[str, ...] = ()
    """What an operator should know about this backup; empty when all is as it should be."""


Tie = tuple[str, ...] | None
"""Names that may be databases, which need one lane; None ties all there are."""


class SegmentSurvey(Value):
    """What a log file means for the lanes of a restore.

    ``problem`` says, where that is so, why no replay can carry it; nothing else is known then.
    """

    bytes: dict[str, Size] = Field(default_factory=dict)
    """Per database, what is to be replayed."""
    ties: tuple[Tie, ...] = ()
    xa: tuple[tuple[str, bool], ...] = ()
    """XA transactions in the order of the log: each that is prepared (true) or settled (false)."""
    partial_images: tuple[tuple[str, str], ...] = ()
    """Tables, some of whose row images leave columns out."""
    silent_cascades: tuple[tuple[str, str], ...] = ()
    """Tables that lost rows in a log which does not say what cascading foreign keys deleted with them."""
    numbered: tuple[str, ...] = ()
    """Databases in whose part of the log a statement may number rows in the order in which they lie."""
    problem: str = ""


class SegmentManifest(Value):
    """One archived binary log file."""

    version: Literal[1] = 1
    key: str
    """The compressed log itself."""
    shard: str
    server_uuid: ServerUuid
    file: FileName
    """The file's name on the server; names repeat after a failover, so never an identity by itself."""
    previous_gtids: GtidField
    """What the server had executed before this file."""
    gtids: GtidField
    """What this file holds."""
    first_commit: AwareDatetime | None
    """Commit time of the first transaction, None where there is none."""
    last_commit: AwareDatetime | None
    """Latest commit time of any transaction in the file."""
    transactions: Count
    log_bytes: Size
    stored_bytes: Size
    sha256: Sha256
    log_sha256: Sha256
    """SHA-256 of the log before compression."""
    shipped_at: AwareDatetime
    survey: SegmentSurvey | None = None
    """None for what was shipped by a version that took none."""
    surroundings: Surroundings | None = None
    """The source's, when the file was shipped. None for what was shipped by a version that did not ask."""
    left_out: LeftOut | None = None
    """What the source did not log when the file was shipped."""
