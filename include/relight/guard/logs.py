"""Which transactions the logs in a data directory hold, found without starting a server.

Every binary log begins with what was logged before it. So for all files but the last it is enough to read the
beginning of the next, where all that it may hold is known to be backed up; the others are read as a whole. Transactions
without a GTID in a file that need not be read are not noticed; with ``gtid_mode = ON`` there are none.
"""

from __future__ import annotations

import re
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from relight.binlog import format as f
from relight.binlog.gtid_events import read_tagged_gtid, uuid_text
from relight.binlog.reader import open_log
from relight.binlog.scan import scan
from relight.binlog.transactions import previous_gtids
from relight.errors import BinlogError
from relight.gtid import Gtid, GtidSet
from relight.guard.directory import Contents
from relight.guard.finding import Finding, counted

_NAME = re.compile(r"^(?P<base>.+)\.(?P<number>\d{6,})$")
_UUID = struct.Struct(">qq")


@dataclass(frozen=True)
class Held:
    """What was found in the logs."""

    logged: GtidSet
    """Transactions in binary logs."""
    received: GtidSet
    """Transactions in relay logs that are in no binary log there: a source has sent them, and nobody applied them."""
    without_gtid: int
    unreadable: tuple[str, ...]


def unarchived(contents: Contents, archived: GtidSet) -> Iterator[Finding]:
    """Transactions on disk that nobody said are backed up. A file that cannot be read may hold some."""
    held = held_in(contents, archived)
    missing = "that are not backed up" if archived else "and nobody said that they are backed up"
    for gtids, where in ((held.logged, "binary logs hold"), (held.received, "relay logs hold, received only,")):
        if lost := gtids - archived:
            yield Finding("transactions", f"the {where} {counted(lost.count(), 'transaction')} {missing}: {lost}")
    if held.without_gtid:
        yield Finding(
            "transactions", f"the binary logs hold {counted(held.without_gtid, 'transaction')} without a GTID"
        )
    yield from (Finding("transactions", text) for text in held.unreadable)


def held_in(contents: Contents, archived: GtidSet | None) -> Held:
    """Read the logs, as far as ``archived`` does not make that needless. None: what is quick is good enough."""
    logged, received, without_gtid = GtidSet(), GtidSet(), 0
    unreadable: list[str] = []
    for path, claimed in logs_in(contents, unreadable):
        try:
            if is_relay_log(path):
                received = received | relayed(path)
            elif claimed and (archived is None or claimed <= archived):
                logged = logged | claimed
            else:
                found, anonymous = _read(path)
                logged, without_gtid = logged | found, without_gtid + anonymous
        except (BinlogError, OSError) as error:
            unreadable.append(f"{path} cannot be read, and may hold transactions: {error}")
    return Held(logged, received - logged, without_gtid, tuple(dict.fromkeys(unreadable)))


def logs_in(contents: Contents, unreadable: list[str]) -> Iterator[tuple[Path, GtidSet | None]]:
    """Every log in its order, with the most that it may hold where that is known without reading it.

    :param unreadable: gets what cannot be looked at, in words.
    """
    sequences: dict[Path, list[tuple[int, Path]]] = {}
    for path in sorted({*_lying_there(contents), *_listed(contents, unreadable)}):
        if match := _NAME.match(path.name):
            sequences.setdefault(path.with_name(match["base"]), []).append((int(match["number"]), path))
    for numbered in sequences.values():
        paths = [path for _, path in sorted(numbered)]
        before = {path: _logged_before(path) for path in paths}
        for path, following in pairwise(paths):
            known, later = before[path], before[following]
            yield path, later - known if known is not None and later is not None else None
        yield paths[-1], None


def _lying_there(contents: Contents) -> Iterator[Path]:
    for entry in contents.of_kind(stat.S_IFREG):
        if entry.path.parent == contents.real and _NAME.match(entry.path.name) and entry.info.st_size:
            yield entry.path


def _listed(contents: Contents, unreadable: list[str]) -> Iterator[Path]:
    """The files that the index names, which may lie elsewhere."""
    for entry in contents.of_kind(stat.S_IFREG):
        if entry.path.parent != contents.real or entry.path.suffix != ".index":
            continue
        try:
            lines = entry.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            unreadable.append(f"{entry.path} cannot be read, and may name logs: {error.strerror}")
            continue
        for line in lines:
            path = contents.real / line
            if _NAME.match(path.name) and path.is_file() and path.stat().st_size:
                yield path.resolve()


def _logged_before(path: Path) -> GtidSet | None:
    """None where the file does not say so, or cannot be read: then it is read as a whole, which tells why."""
    try:
        with open_log(path) as log:
            return previous_gtids(log)
    except (BinlogError, OSError):
        return None


def _read(path: Path) -> tuple[GtidSet, int]:
    with open_log(path) as log:
        found = scan(log).transactions
        return found.gtids(), int(found.anonymous.sum())


def is_relay_log(path: Path) -> bool:
    """Whether a replica wrote the file, with what it received."""
    with path.open("rb") as stream:
        head = stream.read(len(f.MAGIC) + f.HEADER_SIZE)
    if len(head) < len(f.MAGIC) + f.HEADER_SIZE or not head.startswith(f.MAGIC):
        return False
    return bool(f.HEADER.unpack_from(head, len(f.MAGIC))[-1] & f.RELAY_LOG)


def relayed(path: Path) -> GtidSet:
    """The transactions that begin in a relay log, whether they were received to their end or not."""
    gtids = []
    size = path.stat().st_size
    with path.open("rb") as stream:
        position = len(f.MAGIC)
        while position + f.HEADER_SIZE <= size:
            stream.seek(position)
            _, kind, _, length, _, _ = f.HEADER.unpack(stream.read(f.HEADER_SIZE))
            if length < f.HEADER_SIZE:
                raise BinlogError("the relay log cannot be read", on=f"{path.name} at {position}", why="no event there")
            if kind in (f.GTID, f.GTID_TAGGED):
                gtids.append(_gtid(kind, stream.read(length - f.HEADER_SIZE), f"{path.name} at {position}"))
            position += length
    return GtidSet.of(gtids)


def _gtid(kind: int, body: bytes, where: str) -> Gtid:
    try:
        if kind == f.GTID_TAGGED:
            return read_tagged_gtid(memoryview(body))[0]
        (number,) = struct.unpack_from("<q", body, 17)
        return Gtid(uuid_text(*_UUID.unpack_from(body, 1)), number)
    except (struct.error, ValueError, IndexError):
        raise BinlogError("the relay log cannot be read", on=where, why="the GTID cannot be decoded") from None
