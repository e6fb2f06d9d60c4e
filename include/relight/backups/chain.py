"""Which segments follow a snapshot, in which order, and where they break off.

A segment can be replayed once everything that its server had executed before it is there, and is
worth replaying while it holds something that is not. After a failover the logs of two servers
overlap; whatever is there already is skipped.

A failover may leave transactions behind that the new source never got. They are in the old one's
logs, and replaying them would mix two histories; so a chain keeps to the history of one server.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple

from relight.backups.manifest import SegmentManifest
from relight.errors import PlanError
from relight.gtid import Gtid, GtidSet


class Link(NamedTuple):
    """A segment of the chain, and what is taken from it: transactions that are not there yet."""

    segment: SegmentManifest
    take: GtidSet


@dataclass(frozen=True)
class Chain:
    """The segments from a snapshot on, as far as they go."""

    start: GtidSet
    links: tuple[Link, ...]
    end: GtidSet
    """What is there after the last link."""
    beyond: tuple[SegmentManifest, ...]
    """Segments with more to give that cannot be reached, the nearest first."""
    damaged: tuple[SegmentManifest, ...]
    """Segments that would lead further if their objects were there."""
    left_out: GtidSet
    """Transactions that belong to another history."""
    missing: GtidSet
    """What lies between the end of the chain and the nearest segment beyond it."""


def history(segment: SegmentManifest) -> GtidSet:
    """Everything its server had executed at the end of the segment."""
    return segment.previous_gtids | segment.gtids


def newest_history(segments: Sequence[SegmentManifest]) -> GtidSet | None:
    """The history of the server that wrote last; None without segments.

    :raises PlanError: by commit time it is one server and by time of shipping another, and each has
        transactions that the other does not know.
    """
    written = [segment for segment in segments if segment.last_commit]
    if not written:
        return None
    by_commit, by_shipping = (_last_by(written, attrgetter(field)) for field in ("last_commit", "shipped_at"))
    if by_shipping.gtids <= history(by_commit):
        return history(by_commit)
    if by_commit.gtids <= history(by_shipping):
        return history(by_shipping)
    tips = " or ".join(f"--target gtid:{last_gtid(segment.gtids)}" for segment in (by_commit, by_shipping))
    raise PlanError(
        "two servers wrote histories that exclude each other", on=by_commit.shard,
        why=f"{by_commit.server_uuid} has the newest commits and {by_shipping.server_uuid} was shipped last",
        hint=f"say which one to follow: {tips}",
    )  # fmt: skip


def _last_by(segments: Sequence[SegmentManifest], time: Callable[[SegmentManifest], datetime]) -> SegmentManifest:
    """The one with the latest time; of several the one that holds the longest history."""
    latest = max(map(time, segments))
    return max((s for s in segments if time(s) == latest), key=lambda s: history(s).count())


def last_gtid(gtids: GtidSet) -> Gtid:
    """The highest number of the first stream: the last transaction where there is one stream."""
    stream = min(gtids.streams)
    return Gtid(stream, gtids.streams[stream][-1][1])


def follow(
    start: GtidSet, segments: Sequence[SegmentManifest], within: GtidSet | None = None, lost: Container[str] = ()
) -> Chain:
    """The chain from the transactions ``start`` on.

    :param within: only transactions of this history are taken.
    :param lost: keys of segments that are not there any more.
    """
    limit = within | start if within is not None else None
    entries = [_entry(segment, limit) for segment in segments]
    queues = _by_server(entry for entry in entries if entry.segment.key not in lost)
    end, links = start, list[Link]()
    queue: _Queue | None = None
    while found := _next(queue, queues, end):
        queue, place, take = found
        links.append(Link(queue[place].segment, take))
        del queue[place]
        end = end | take
    ahead = [entry for queue in queues for entry in queue if entry.wanted - end]
    ahead.sort(key=lambda one: ((one.before - end).count(), one.before.count()))
    beyond = tuple(one.segment for one in ahead)
    missing = ahead[0].before - end if ahead else GtidSet()
    damaged = tuple(one.segment for one in entries if one.segment.key in lost and one.wanted - end)
    left_out = GtidSet.union(one.segment.gtids - one.wanted for one in entries if one.wanted is not one.segment.gtids)
    return Chain(start, tuple(links), end, beyond, damaged, left_out, missing)


def _entry(segment: SegmentManifest, limit: GtidSet | None) -> _Entry:
    if limit is None:
        return _Entry(segment, segment.gtids, segment.previous_gtids)
    return _Entry(segment, segment.gtids & limit, segment.previous_gtids & limit)


class _Entry(NamedTuple):
    """A segment, what is wanted of it, and what must be there before: nothing that the history has not."""

    segment: SegmentManifest
    wanted: GtidSet
    before: GtidSet


_Queue = deque[_Entry]
"""What one server shipped, oldest first."""


def _by_server(entries: Iterable[_Entry]) -> list[_Queue]:
    servers: dict[str, _Queue] = defaultdict(deque)
    # File numbers begin anew when a server's logs are reset; what was executed before only grows.
    for entry in sorted(entries, key=lambda one: (one.segment.previous_gtids.count(), one.segment.file)):
        servers[entry.segment.server_uuid].append(entry)
    # The server that wrote last leads furthest, with the fewest files to fetch.
    return sorted(servers.values(), key=lambda queue: history(queue[-1].segment).count(), reverse=True)


def _next(current: _Queue | None, queues: list[_Queue], end: GtidSet) -> tuple[_Queue, int, GtidSet] | None:
    """The next segment to take and what is taken: of the same server, else of another; None where the chain ends."""
    for queue in [current, *queues] if current is not None else queues:
        while queue and not (take := queue[0].wanted - end):
            queue.popleft()
        if queue and queue[0].before <= end:
            return queue, 0, take
    for queue in queues:
        for place, one in enumerate(queue):
            if one.before <= end and (take := one.wanted - end):
                return queue, place, take
    return None
