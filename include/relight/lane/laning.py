"""Which databases share a lane, and which lanes share a task.

Databases are tied into one lane only where something demands a common order: a foreign key
across them, or a statement in the log that names more than one, or whose reach is unknown.
"""

from __future__ import annotations

import heapq
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from relight.accounting import xa_of
from relight.backups.manifest import SnapshotManifest, Tie
from relight.gtid import GtidSet
from relight.lane.writers import MOST_CONNECTIONS
from relight.run_files import Lane, LaneGroup, Lanes, SplitResult
from relight.server.schema import SYSTEM_DATABASES


@dataclass(frozen=True)
class Content:
    """What lanes are made from, of one segment: bytes per database, ties, and what is taken from it."""

    bytes: Mapping[str, int]
    ties: Sequence[Tie]
    taken: GtidSet
    transactions: int
    log_bytes: int
    xa: Sequence[tuple[str, bool]] = ()
    numbered: Sequence[str] = ()


def content_of(split: SplitResult) -> Content:
    """The same of a segment that was split."""
    sizes = {stream.database: stream.bytes for stream in split.streams}
    return Content(
        sizes, split.ties, split.taken, split.transactions, split.log_bytes, xa_of(split.operations), split.numbered
    )


def make_lanes(
    snapshot: SnapshotManifest, contents: Iterable[Content], *, shard: str, most_groups: int, connections: int = 4
) -> Lanes:  # fmt: skip
    """Pure: the lanes that snapshot and segments ask for. ``connections`` are shared out among them."""
    contents = list(contents)
    volume: Counter[str] = Counter()
    for content in contents:
        volume.update(content.bytes)
    known = set(volume) | set(snapshot.databases)
    ties = [*foreign_key_ties(snapshot), *(t for content in contents for t in content.ties), *settlement_ties(contents)]
    sets = tie(volume, known, ties)
    lanes = lanes_of(sets, volume, connections, {name for content in contents for name in content.numbered})
    end = snapshot.gtids
    for content in contents:
        end = end | content.taken
    return Lanes(
        lanes=lanes, groups=make_groups(lanes, shard, most_groups), databases=tuple(sorted(known - SYSTEM_DATABASES)),
        end_gtids=end, segments=len(contents), transactions=sum(c.transactions for c in contents),
        log_bytes=sum(c.log_bytes for c in contents),
    )  # fmt: skip


def lanes_of(
    sets: Iterable[list[str]], volume: Mapping[str, int], connections: int, numbered: Collection[str] = ()
) -> tuple[Lane, ...]:  # fmt: skip
    """A lane for each set of databases; the larger its part of all bytes, the more connections it gets.

    A lane with one of the databases in ``numbered`` keeps the order of rows that have no key.
    """
    sizes = [(databases, sum(volume[d] for d in databases)) for databases in sets]
    total = sum(size for _, size in sizes) or 1
    return tuple(
        Lane(
            number=number, name="+".join(databases), databases=tuple(databases), bytes=size,
            connections=min(max(round(connections * size / total), 1), MOST_CONNECTIONS),
            keeps_row_order=not set(numbered).isdisjoint(databases),
        )
        for number, (databases, size) in enumerate(sizes)
    )  # fmt: skip


def default_connections() -> int:
    """How many connections this machine's cores keep busy."""
    return max(2 * (os.cpu_count() or 1), 4)


def foreign_key_ties(snapshot: SnapshotManifest) -> list[Tie]:
    """Pairs of databases with a foreign key between them."""
    return [
        (table.database, key.parent_database)
        for table in snapshot.tables
        for key in table.foreign_keys
        if key.parent_database != table.database
    ]


def settlement_ties(contents: Iterable[Content]) -> list[Tie]:
    """All databases, if an XA transaction is settled that was prepared before the snapshot: nobody knows what it
    touched, and what comes after it may need it."""
    prepared: set[str] = set()
    for xid, prepares in (one for content in contents for one in content.xa):
        if prepares:
            prepared.add(xid)
        elif xid not in prepared:
            return [None]
    return []


def tie(active: Iterable[str], known: Iterable[str], ties: Iterable[Tie]) -> list[list[str]]:
    """Join databases that are tied, directly or through others; only active ones are in the result.

    ``active`` have something to replay. Names in a tie that are no known database are not databases.
    """
    parent = {name: name for name in known}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for names in ties:
        members = [n for n in (parent if names is None else names) if n in parent]
        for name in members[1:]:
            parent[root(name)] = root(members[0])
    sets: dict[str, list[str]] = {}
    for name in sorted(active):
        sets.setdefault(root(name), []).append(name)
    return sorted(sets.values())


def make_groups(lanes: Iterable[Lane], shard: str, most: int) -> tuple[LaneGroup, ...]:
    """Put lanes into at most ``most`` groups of about equal size: largest first, each into the
    smallest group so far."""
    ordered = sorted(lanes, key=lambda lane: (-lane.bytes, lane.name))
    # Of two equally large groups the one with fewer lanes goes first, so that none stays empty.
    bins: list[tuple[int, int, int, list[Lane]]] = [(0, 0, i, []) for i in range(min(most, len(ordered)))]
    for lane in ordered:
        size, count, index, members = heapq.heappop(bins)
        heapq.heappush(bins, (size + lane.bytes, count + 1, index, [*members, lane]))
    groups = []
    for size, _, index, members in sorted(bins, key=lambda b: b[2]):
        more = f" and {len(members) - 1} more" if len(members) > 1 else ""
        groups.append(
            LaneGroup(
                number=index, label=f"{shard}/{members[0].name}{more}", lanes=tuple(m.number for m in members),
                bytes=size,
            )
        )  # fmt: skip
    return tuple(groups)
