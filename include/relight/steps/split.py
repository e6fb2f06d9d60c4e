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
from collections.abc import Iterator
from pathlib import Path

import zstandard

from relight.backups.manifest import SegmentManifest, Value
from relight.binlog.gtid_events import micros
from relight.binlog.scan import Mask, Transactions
from relight.errors import ObjectCorrupt
from relight.gtid import GtidSet
from relight.lane.split_log import split_log
from relight.planning.plan import PlannedSegment, load_plan
from relight.planning.target import Target
from relight.run_files import load_split, split_folder
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
            result = split_log(
                log, number, scratch, lambda found: chosen(found, plan.target, planned), name=planned.segment.file,
                may_be_cut=number == len(plan.segments) - 1,
            )  # fmt: skip
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


def chosen(transactions: Transactions, target: Target, planned: PlannedSegment) -> Mask:
    """The transactions that the plan takes from a file, up to the target where it lies in it."""
    take = transactions.among(planned.take)
    if planned.last:
        take[_end(transactions, target) :] = False
    return take


def _end(transactions: Transactions, target: Target) -> int:
    """How many transactions of the file come before the target's end."""
    if target.kind == "time":
        return _first(transactions.commit_times > micros(target.time))
    if target.kind == "position":
        return _first(transactions.begins >= target.position.offset)
    if target.kind == "before":
        return _first(transactions.among(GtidSet.of([target.before])))
    return _first(transactions.among(GtidSet.of([target.gtid]))) + 1


def _first(mask: Mask) -> int:
    """The number of the first that is set, or of all."""
    return int(mask.argmax()) if mask.any() else len(mask)
