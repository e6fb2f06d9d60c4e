"""Fetches the segments of a plan and splits them by lane, each once, whoever needs it first.

The split step goes through them one after the other; lanes that are being replayed need them in order, and do
not wait for it: who finds a segment that nobody is at splits it; who finds one that somebody is at splits a
later one meanwhile. A lock of the kernel says who is at what, and goes with its process.

A segment is fetched, verified against its SHA-256, and read to its end before its streams appear
under their names: nothing of a corrupt or cut log is ever applied.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from relight.backups.inflating import inflated
from relight.backups.manifest import SegmentManifest
from relight.binlog.gtid_events import micros
from relight.binlog.scan import Mask, Transactions
from relight.durable import not_for_others, write_out, write_out_below, write_whole
from relight.errors import ObjectCorrupt, PlanError
from relight.gtid import GtidSet
from relight.lane.split_log import split_log
from relight.planning.plan import Plan, PlannedSegment
from relight.planning.surroundings import known_for
from relight.planning.target import Target
from relight.run_files import SplitResult, load_skipped, load_split, load_split_in, skipped_folder, split_folder
from relight.site import Run, Site

_READ = 2**20


def split_of(site: Site, run: Run, plan: Plan, number: int) -> SplitResult:
    """The split of segment ``number`` of the plan, made now if nobody has made it.

    :raises ObjectCorrupt: the segment is not what was stored. BinlogError: it cannot be read.
    """
    folder = run.folder(site.fleet)
    while not _is_there(folder, plan, number):
        if _split_if_free(site, run, plan, number):
            continue
        # Somebody is at it. The others will be needed too.
        later = range(number + 1, len(plan.segments))
        if not any(not _is_there(folder, plan, n) and _split_if_free(site, run, plan, n) for n in later):
            with _lock(folder, number, wait=True):
                pass
    return load_split(folder, number)


def _is_there(folder: Path, plan: Plan, number: int) -> bool:
    """Whether it is split, and all of that is there: what a power failure has left empty or short is made anew."""
    place = split_folder(folder, number)
    try:
        load_split_in(place)
        if plan.segments[number].skip:
            load_skipped(place)
    except (PlanError, ObjectCorrupt):
        return False
    return True


@contextlib.contextmanager
def _lock(folder: Path, number: int, *, wait: bool) -> Iterator[bool]:
    """Whether this segment is the caller's to split."""
    path = split_folder(folder, number).with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def _split_if_free(site: Site, run: Run, plan: Plan, number: int) -> bool:
    """Split a segment that nobody is at. False: somebody is."""
    folder = run.folder(site.fleet)
    with _lock(folder, number, wait=False) as mine:
        if mine and not _is_there(folder, plan, number):
            _split(site, run, plan, plan.segments[number])
    return mine


def _split(site: Site, run: Run, plan: Plan, planned: PlannedSegment) -> None:
    began = time.monotonic()
    folder = split_folder(run.folder(site.fleet), planned.number)
    around = known_for(plan, planned.number)
    folds = around is not None and around.folds_names
    with _scratch(folder) as scratch:
        log = _fetched(site, planned.segment, scratch)
        result = split_log(
            log, planned.number, scratch, lambda found: chosen(found, plan.target, planned), name=planned.segment.file,
            may_be_cut=planned.number == len(plan.segments) - 1, folds_names=folds,
        )  # fmt: skip
        if planned.skip:
            beside = skipped_folder(scratch)
            beside.mkdir()
            skipped = split_log(log, planned.number, beside, lambda found: found.among(planned.skip), folds_names=folds)
            write_whole(beside / "result.json", skipped.model_dump_json())
        log.unlink()
        result = result.model_copy(update={"seconds": round(time.monotonic() - began, 3), "surroundings": around})
        write_whole(scratch / "result.json", result.model_dump_json())
        write_out_below(scratch)
        shutil.rmtree(folder, ignore_errors=True)  # what is there is not whole, else nothing would be made
        scratch.rename(folder)
        write_out(folder.parent)
    cut = f"; it ends inside a transaction at {result.cut_at}, which is left out" if result.cut_at is not None else ""
    site.progress.say(
        f"split {planned.segment.file}: {result.transactions} transactions, {len(result.streams)} databases{cut}"
    )


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A folder for what is not whole yet. Others of its kind were left by attempts that were killed."""
    for left_over in folder.parent.glob(f"{folder.name}.new-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    scratch = folder.with_name(f"{folder.name}.new-{os.getpid()}-{threading.get_ident()}")
    scratch.mkdir(parents=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _fetched(site: Site, segment: SegmentManifest, scratch: Path) -> Path:
    compressed = scratch / "log.zst"
    site.store.fetch(segment.key, compressed, size=segment.stored_bytes, sha256=segment.sha256)
    log = scratch / "log"
    digest, size = hashlib.sha256(), 0
    with compressed.open("rb") as source, open(log, "wb", opener=not_for_others) as target:
        blocks = iter(lambda: source.read(_READ), b"")
        for chunk in inflated(blocks, segment.log_bytes, on=segment.key, what="a segment"):
            digest.update(chunk)
            size += target.write(chunk)
    if size != segment.log_bytes:
        raise ObjectCorrupt("a segment holds less than its manifest says", on=segment.key, why=f"{size} bytes")
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
