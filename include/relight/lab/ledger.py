"""The ledger: a file of every commit that a server acknowledged, and the check against a server.

Each transaction of the workload writes its id into the table ``ledger`` of every database it
changes, and once the server acknowledged the commit, the id is appended to the file. The file
tells what must be there; the tables, which have no unique key, tell what is there and how often.

A line: kind, id, GTID, databases (joined by commas), digest (16 hex digits), separated by tabs.
An id is ``run-thread-number``; the numbers of a thread have no holes, so that the one that was
under way when a writer was killed is known to be in doubt although it has no line.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from relight.errors import LabError
from relight.gtid import Gtid, GtidSet
from relight.server.session import Session, quoted

Kind = Literal["begun", "committed", "unknown", "rolled-back", "ddl", "ended"]
_KINDS = ("begun", "committed", "unknown", "rolled-back", "ddl", "ended")

TABLE = "ledger"


@dataclass(frozen=True)
class Entry:
    """One line. A thread's first is ``begun``, numbered 0; its last, unless it was killed, ``ended``."""

    kind: Kind
    id: str
    gtid: str = ""
    databases: tuple[str, ...] = ()
    digest: str = ""


class LedgerWriter:
    """Appends entries. Several threads may use it at once; a line is written whole or not at all."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        _end_torn_line(path, self._descriptor)

    def append(self, entry: Entry) -> None:
        """Write the line: with the kernel when this returns, which a killed writer cannot undo."""
        fields = (entry.kind, entry.id, entry.gtid, ",".join(entry.databases), entry.digest)
        os.write(self._descriptor, ("\t".join(fields) + "\n").encode("ascii"))

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def read_ledger(path: Path) -> Iterator[Entry]:
    """The entries of a ledger file. :raises LabError: a line is none."""
    try:
        lines = path.read_text(encoding="ascii").split("\n")
    except FileNotFoundError:
        raise LabError("no ledger", on=str(path), hint="no workload has run yet") from None
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        kind, *rest = line.split("\t")
        if kind not in _KINDS or len(rest) != 4:
            raise LabError("a line of the ledger cannot be read", on=f"{path}, line {number}", why=repr(line[:80]))
        yield Entry(kind, rest[0], rest[1], tuple(filter(None, rest[2].split(","))), rest[3])  # type: ignore[arg-type]


@dataclass(frozen=True)
class LedgerVerdict:
    """What the check found. The lists name transactions as ``id in database``.

    ``acknowledged``: commits that the server acknowledged; ``expected``: those of them within the
    set; ``present``: those of them that are there as they should be; ``beyond``: acknowledged, but
    not in the set, and rightly not there (what the disaster cost); ``in_doubt``: there, although
    the server's answer never arrived.
    """

    acknowledged: int
    expected: int
    present: int
    beyond: int
    in_doubt: int
    missing: tuple[str, ...] = ()
    duplicated: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Every expected commit is there exactly once, and nothing else is."""
        return not (self.missing or self.duplicated or self.altered or self.unexpected)

    def __str__(self) -> str:
        text = f"{self.present} of {self.expected} expected commits are there exactly once"
        for name in ("missing", "duplicated", "altered", "unexpected"):
            found: tuple[str, ...] = getattr(self, name)
            if found:
                text += f"; {len(found)} {name} ({', '.join(found[:3])}{', ...' if len(found) > 3 else ''})"
        return text + ("" if not self.ok else "; nothing else is")


_Stored = Mapping[str, Mapping[str, Counter[str]]]
"""Database, then id, then how many rows there are with each digest."""


@dataclass
class _Known:
    """A ledger file, sorted by what it says of each id."""

    must: dict[str, Entry] = field(default_factory=dict)
    may: dict[str, Entry] = field(default_factory=dict)
    acknowledged: int = 0
    beyond: int = 0


def check_ledger(
    session: Session, ledger_file: Path, databases: tuple[str, ...], up_to: GtidSet | None = None
) -> LedgerVerdict:
    """Compare a server with the ledger.

    With ``up_to``, the commits whose GTID is in that set must be there, each exactly once, and
    the others must not be; without, all must be there.

    :raises LabError: the file cannot be read, or names commits without a GTID although ``up_to`` is given.
    """
    known = _sort(ledger_file, up_to)
    stored = {database: _stored(session, database) for database in databases}
    missing, altered, incomplete = _compare(known.must.values(), stored)
    duplicated, unexpected, doubtful = [], [], set()
    for database, ids in stored.items():
        for one, rows in ids.items():
            known_as = known.must.get(one) or known.may.get(one)
            if known_as is None or (known_as.databases and database not in known_as.databases):
                unexpected.append(f"{one} in {database}")
            elif rows.total() > 1:
                duplicated.append(f"{one} in {database}")
            if one in known.may:
                doubtful.add(one)
    # A transaction in doubt is there in all of its databases or in none.
    missing += [
        f"{one} in {database}"
        for one in sorted(doubtful)
        for database in known.may[one].databases
        if one not in stored.get(database, {})
    ]
    return LedgerVerdict(
        known.acknowledged, len(known.must), len(known.must) - len(incomplete), known.beyond, len(doubtful),
        tuple(missing), tuple(duplicated), tuple(altered), tuple(unexpected),
    )  # fmt: skip


def _compare(must: Iterable[Entry], stored: _Stored) -> tuple[list[str], list[str], set[str]]:
    """Of the commits that must be there: what is missing, what is altered, and the ids that are not
    there exactly once in each of their databases."""
    missing, altered, incomplete = [], [], set()
    for entry in must:
        for database in entry.databases:
            rows = stored.get(database, {}).get(entry.id)
            if rows is None:
                missing.append(f"{entry.id} in {database}")
            elif set(rows) != {entry.digest}:
                altered.append(f"{entry.id} in {database}")
            if rows is None or set(rows) != {entry.digest} or rows.total() != 1:
                incomplete.add(entry.id)
    return missing, altered, incomplete


def _sort(path: Path, up_to: GtidSet | None) -> _Known:
    known = _Known()
    last: dict[str, int] = {}
    ended: set[str] = set()
    for entry in read_ledger(path):
        thread, _, number = entry.id.rpartition("-")
        if entry.kind == "ended":
            ended.add(thread)
            continue
        last[thread] = max(last.get(thread, 0), int(number))
        if entry.kind == "unknown":
            known.may[entry.id] = entry
        elif entry.kind == "committed":
            known.acknowledged += 1
            if up_to is None or _gtid(entry) in up_to:
                known.must[entry.id] = entry
            else:
                known.beyond += 1
    for thread, highest in last.items():
        if thread not in ended:
            in_doubt = f"{thread}-{highest + 1}"
            known.may[in_doubt] = Entry("unknown", in_doubt)
    return known


def _gtid(entry: Entry) -> Gtid:
    stream, _, number = entry.gtid.rpartition(":")
    if not stream:
        raise LabError("a commit in the ledger has no GTID", on=entry.id, why="the server did not tell it")
    return Gtid(stream.lower(), int(number))


def _stored(session: Session, database: str) -> Mapping[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for one, digest, count in session.rows(
        f"SELECT id, LOWER(HEX(digest)), COUNT(*) FROM {quoted(database, TABLE)} GROUP BY 1, 2"
    ):
        found.setdefault(one, Counter())[digest] += count
    return found


def _end_torn_line(path: Path, descriptor: int) -> None:
    """A full disk may have cut the last line short: what is appended must not become part of it."""
    if path.stat().st_size and path.read_bytes()[-1:] != b"\n":
        os.write(descriptor, b"\n")
