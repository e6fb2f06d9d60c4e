"""GTID sets as immutable values.

Text form as in the MySQL manual, "GTID Format and Storage": ``uuid:1-5:7``, sets joined by
commas, and since 8.3 tags: ``uuid:1-5:tag:1-3``. Intervals are closed on both ends here.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from relight.errors import TargetError

_UUID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
_TAG = re.compile(r"^[a-z_][a-z0-9_]{0,31}$")
_INTERVAL = re.compile(r"^([1-9][0-9]{0,18})(?:\s*-\s*([1-9][0-9]{0,18}))?$")

Interval = tuple[int, int]
"""First and last transaction number, both included."""

MAX_NUMBER = 2**63 - 2


def is_server_uuid(text: str) -> bool:
    """Whether the text is a server's UUID as MySQL writes it, in small letters."""
    return bool(_UUID.match(text))


@dataclass(frozen=True, order=True)
class Gtid:
    """One transaction: the stream it belongs to (server UUID, with ``:tag`` where there is one)
    and its number in it."""

    stream: str
    number: int

    def __str__(self) -> str:
        return f"{self.stream}:{self.number}"

    @classmethod
    def parse(cls, text: str) -> Gtid:
        """Read ``uuid:number`` or ``uuid:tag:number``; TargetError if it is not one."""
        parsed = GtidSet.parse(text)
        if parsed.count() != 1:
            raise TargetError(
                "not a single GTID",
                on=text,
                hint="write it as server-uuid:number, for example 3e11fa47-71ca-11e1-9e33-c80aa9429562:23",
            )
        return next(iter(parsed))


@dataclass(frozen=True)
class GtidSet:
    """A set of transactions. ``streams`` maps a stream to sorted, disjoint, merged intervals."""

    streams: Mapping[str, tuple[Interval, ...]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> GtidSet:
        """Read the text form; empty text is the empty set. TargetError where it is malformed."""
        found: dict[str, list[Interval]] = {}
        for part in text.split(","):
            if part.strip():
                for stream, interval in _parse_part(part.lower(), text):
                    found.setdefault(stream, []).append(interval)
        return cls({stream: _merge(spans) for stream, spans in found.items()})

    @classmethod
    def of(cls, gtids: Iterable[Gtid]) -> GtidSet:
        """The set of the given transactions."""
        found: dict[str, list[Interval]] = {}
        for gtid in gtids:
            found.setdefault(gtid.stream, []).append((gtid.number, gtid.number))
        return cls({stream: _merge(spans) for stream, spans in found.items()})

    @classmethod
    def union(cls, sets: Iterable[GtidSet]) -> GtidSet:
        """All of them together. Of many this is much faster than one after the other."""
        found: dict[str, list[Interval]] = {}
        for one in sets:
            for stream, spans in one.streams.items():
                found.setdefault(stream, []).extend(spans)
        return cls({stream: _merge(spans) for stream, spans in found.items()})

    def __or__(self, other: GtidSet) -> GtidSet:
        if not other.streams:
            return self
        streams = dict(self.streams)
        for stream, spans in other.streams.items():
            mine = streams.get(stream)
            streams[stream] = _joined(mine, spans) if mine else spans
        return GtidSet(streams)

    def __sub__(self, other: GtidSet) -> GtidSet:
        streams, same = {}, True
        for stream, spans in self.streams.items():
            taken = other.streams.get(stream)
            left = _subtract(spans, taken) if taken else spans
            same = same and left is spans
            if left:
                streams[stream] = left
        return self if same else GtidSet(streams)

    def __and__(self, other: GtidSet) -> GtidSet:
        return self if self <= other else self - (self - other)

    def __le__(self, other: GtidSet) -> bool:
        # Planning a fleet asks this some hundred times for each shard: the common case is decided here.
        for stream, spans in self.streams.items():
            others = other.streams.get(stream)
            if others is None:
                return False
            if len(spans) == 1 == len(others):
                if spans[0][0] < others[0][0] or others[0][1] < spans[0][1]:
                    return False
            elif not _within(spans, others):
                return False
        return True

    def __contains__(self, gtid: Gtid) -> bool:
        spans = self.streams.get(gtid.stream, ())
        at = bisect_right(spans, gtid.number, key=itemgetter(0)) - 1
        return at >= 0 and gtid.number <= spans[at][1]

    def __bool__(self) -> bool:
        return bool(self.streams)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GtidSet) and dict(self.streams) == dict(other.streams)

    def __hash__(self) -> int:
        return hash(tuple(sorted(self.streams.items())))

    def __iter__(self) -> Iterator[Gtid]:
        for stream in sorted(self.streams):
            for first, last in self.streams[stream]:
                for number in range(first, last + 1):
                    yield Gtid(stream, number)

    def count(self) -> int:
        """How many transactions the set holds."""
        total = 0
        for spans in self.streams.values():
            for first, last in spans:
                total += last - first + 1
        return total

    def __str__(self) -> str:
        by_uuid: dict[str, list[str]] = {}
        for stream in sorted(self.streams):
            uuid, _, tag = stream.partition(":")
            spans = ":".join(str(a) if a == b else f"{a}-{b}" for a, b in self.streams[stream])
            by_uuid.setdefault(uuid, []).append(f"{tag}:{spans}" if tag else spans)
        return ",".join(f"{uuid}:{':'.join(parts)}" for uuid, parts in by_uuid.items())


def _parse_part(part: str, whole: str) -> Iterator[tuple[str, Interval]]:
    def malformed(why: str) -> TargetError:
        return TargetError(
            "malformed GTID set", on=whole, why=why,
            hint="the form is server-uuid:1-5:7, several joined by commas",
        )  # fmt: skip

    uuid, *rest = (item.strip() for item in part.split(":"))
    if not is_server_uuid(uuid):
        raise malformed(f"{uuid!r} is not a server UUID")
    if not rest:
        raise malformed(f"no transaction number after {uuid}")
    stream = sys.intern(uuid)  # the same few in every set: looked up in less time, and kept once
    for item, following in zip(rest, [*rest[1:], ""], strict=True):
        interval = _INTERVAL.match(item)
        if interval:
            first, last = int(interval[1]), int(interval[2] or interval[1])
            if last < first or last > MAX_NUMBER:
                raise malformed(f"{item!r} is not an interval")
            yield stream, (first, last)
        elif _TAG.match(item) and _INTERVAL.match(following):
            stream = sys.intern(f"{uuid}:{item}")
        else:
            raise malformed(f"{item!r} is neither a number, an interval nor a tag with one of these behind it")


def _merge(spans: Iterable[Interval]) -> tuple[Interval, ...]:
    merged: list[Interval] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)


def _joined(spans: tuple[Interval, ...], others: tuple[Interval, ...]) -> tuple[Interval, ...]:
    if len(others) == 1 and spans[-1][1] + 1 == others[0][0]:  # a log that goes on where the one before it ended
        return (*spans[:-1], (spans[-1][0], others[0][1]))
    return _merge([*spans, *others])


def _within(spans: Iterable[Interval], others: Sequence[Interval]) -> bool:
    """Whether every one lies in one of the others: they are merged, so none lies across two."""
    at = 0
    for first, last in spans:
        while at < len(others) and others[at][1] < first:
            at += 1
        if at == len(others) or first < others[at][0] or others[at][1] < last:
            return False
    return True


def _subtract(spans: tuple[Interval, ...], taken: tuple[Interval, ...]) -> tuple[Interval, ...]:
    """One walk through both: sets of a shard whose failovers left holes have thousands of intervals."""
    if taken[-1][1] < spans[0][0] or spans[-1][1] < taken[0][0]:
        return spans
    left: list[Interval] = []
    at = 0
    for start, last in spans:
        first = start
        while at < len(taken) and taken[at][1] < first:
            at += 1
        # One that reaches beyond this interval may take something of the next, too.
        while at < len(taken) and taken[at][0] <= last:
            if taken[at][0] > first:
                left.append((first, taken[at][0] - 1))
            first = taken[at][1] + 1
            if first > last:
                break
            at += 1
        if first <= last:
            left.append((first, last))
    return tuple(left)
