"""Step: read one segment, once, and split it by database.

A segment is fetched, verified against its SHA-256, and read to its end before its streams appear
under their names: nothing of a corrupt or cut log is ever applied.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import zstandard

from relight.backups.manifest import SegmentManifest, Value
from relight.binlog.reader import LogFile, open_log
from relight.binlog.transactions import Transaction, transactions
from relight.errors import ObjectCorrupt
from relight.gtid import Gtid, GtidSet
from relight.lane.splitter import Splitter
from relight.lane.stream import Piece, StreamWriter
from relight.planning.plan import PlannedSegment, load_plan
from relight.planning.target import Target
from relight.run_files import SplitResult, StreamInfo, load_split, split_folder
from relight.site import Run, Site
from relight.steps.stepping import step


class SplitSummary(Value):
    """What the next task and the reader of the log need to know."""

    number: int
    file: str
    transactions: int
    log_bytes: int
    databases: int
    seconds: float


@step("split")
def split_segment(site: Site, run: Run, number: int) -> SplitSummary:
    """Fetch and split segment ``number`` of the plan. Run again, it finds its work done.

    :raises ObjectCorrupt: the segment is not what was stored. BinlogError: it cannot be read.
    """
    plan = load_plan(site.store, run)
    planned = plan.segments[number]
    folder = split_folder(run.folder(site.fleet), number)
    if not (folder / "result.json").exists():
        started = time.monotonic()
        with _scratch(folder) as scratch:
            log = _fetched(site, planned.segment, scratch)
            result = split_log(log, number, scratch, lambda opened: _wanted(opened, plan.target, planned))
            log.unlink()
            result = result.model_copy(update={"seconds": round(time.monotonic() - started, 3)})
            (scratch / "result.json").write_text(result.model_dump_json(), encoding="utf-8")
            _publish(scratch, folder)
    result = load_split(run.folder(site.fleet), number)
    site.progress.say(
        f"split {planned.segment.file}: {result.transactions} transactions, {len(result.streams)} databases"
    )
    return SplitSummary(
        number=number, file=planned.segment.file, transactions=result.transactions, log_bytes=result.log_bytes,
        databases=len(result.streams), seconds=result.seconds,
    )  # fmt: skip


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A folder of this process, so that two attempts at the same segment do not meet."""
    scratch = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _publish(scratch: Path, folder: Path) -> None:
    try:
        scratch.rename(folder)
    except OSError:
        # Another attempt was faster; both wrote the same, since a split depends on nothing else.
        if not (folder / "result.json").exists():
            raise


def _fetched(site: Site, segment: SegmentManifest, scratch: Path) -> Path:
    compressed = scratch / "log.zst"
    site.store.fetch(segment.key, compressed, size=segment.stored_bytes, sha256=segment.sha256)
    log = scratch / "log"
    digest = hashlib.sha256()
    try:
        with compressed.open("rb") as source, log.open("wb") as target:
            for chunk in zstandard.ZstdDecompressor().read_to_iter(source):
                digest.update(chunk)
                target.write(chunk)
    except zstandard.ZstdError as error:
        raise ObjectCorrupt("a segment cannot be decompressed", on=segment.key, why=str(error)) from None
    if digest.hexdigest() != segment.log_sha256:
        raise ObjectCorrupt("a segment is not the log that was shipped", on=segment.key, why="its SHA-256 differs")
    compressed.unlink()
    return log


def split_log(
    path: Path, number: int, folder: Path, wanted: Callable[[LogFile], Iterator[Transaction]] = transactions
) -> SplitResult:  # fmt: skip
    """Split one log file: stream files in ``folder``, and what was found. ``wanted`` picks the transactions."""
    writers: dict[str, StreamWriter] = {}
    with open_log(path) as log, contextlib.ExitStack() as closing:

        def emit(database: str, piece: Piece) -> None:
            if database not in writers:
                writer = StreamWriter(folder / f"{len(writers):05d}.stream", log.format.plain)
                writers[database] = writer
                closing.callback(writer.close)
            writers[database].write(piece)

        splitter = Splitter(log, emit)
        taken: list[Gtid] = []
        for ordinal, transaction in enumerate(wanted(log), start=1):
            splitter.take(ordinal, transaction)
            taken.append(transaction.gtid)
        size = log.size
    streams = (
        StreamInfo(database=d, file=w.path.name, bytes=w.bytes, transactions=w.transactions) for d, w in writers.items()
    )
    return SplitResult(
        number=number, taken=GtidSet.of(taken), transactions=len(taken), row_events=splitter.row_events,
        log_bytes=size, streams=tuple(streams), ties=tuple(sorted(splitter.ties, key=str)),
        operations=splitter.journal.operations(),
        silent_cascades=tuple(sorted(splitter.silent_cascades)), seconds=0,
    )  # fmt: skip


def _wanted(log: LogFile, target: Target, planned: PlannedSegment) -> Iterator[Transaction]:
    """The transactions that the plan takes from the file, up to the target where it lies here.

    The file is read to its end even behind the target, so that a cut or corrupt file is noticed.
    """
    lies_behind = _behind(target) if planned.last else None
    reached = False
    for transaction in transactions(log):
        reached = reached or (lies_behind is not None and lies_behind(transaction))
        if not reached and transaction.gtid in planned.take:
            yield transaction
        if planned.last and target.kind == "gtid" and transaction.gtid == target.gtid:
            reached = True


def _behind(target: Target) -> Callable[[Transaction], bool]:
    """Tells of a transaction whether the target leaves it out, and with it all that follow."""
    if target.kind == "time":
        time = target.time
        return lambda transaction: transaction.committed > time
    if target.kind == "before":
        unwanted = target.before
        return lambda transaction: transaction.gtid == unwanted
    if target.kind == "position":
        offset = target.position.offset
        return lambda transaction: transaction.position >= offset
    return lambda _: False  # of a GTID target the transaction itself is wanted still
