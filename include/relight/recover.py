"""The story of a restore, from beginning to end. It reads like the runbook, because it is one.

The restore DAG calls the same functions in the same order (a test compares the two); this one
runs them in one process, lanes side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from relight.errors import LaneBlocked, RelightError
from relight.fleet import Server
from relight.site import Run, Site
from relight.steps.announce import announce
from relight.steps.certify import certify
from relight.steps.drill import drill
from relight.steps.inspect_target import inspect_target
from relight.steps.judge import judge
from relight.steps.lanes import LanesSummary, plan_lanes
from relight.steps.plan import plan_run
from relight.steps.prepare import prepare
from relight.steps.promote import promote
from relight.steps.replay import ReplaySummary, replay_group
from relight.steps.replicas import rebuild_replica
from relight.steps.report import ReportSummary, write_report
from relight.steps.restore import restore_snapshot
from relight.steps.salvage import salvage
from relight.steps.split import split_segment
from relight.steps.teardown import tear_down
from relight.steps.validate import validate_database

T = TypeVar("T")
K = TypeVar("K")

STEPS = (
    salvage,
    plan_run,
    inspect_target,
    restore_snapshot,
    plan_lanes,
    split_segment,
    replay_group,
    validate_database,
    judge,
    certify,
    drill,
    prepare,
    rebuild_replica,
    promote,
    announce,
    rebuild_replica,
    tear_down,
    write_report,
)
"""The steps in their order; ``salvage``, and those from ``prepare`` to the last ``rebuild_replica``, only to promote,
``drill`` and ``tear_down`` only to rehearse. Replicas that the fleet file wants first come before ``promote``."""


def recover(site: Site, run: Run, *, workers: int = 4) -> ReportSummary:
    """Bring a shard back, or rehearse it. A report is written, and a rehearsal torn down, in any case.

    :raises RelightError: the step that failed. Run again with the same run id, a restore goes on there.
    """
    try:
        _rebuild(site, run, workers)
        if run.mode == "promote":
            _back_into_service(site, run, workers)
        else:
            drill(site, run)
    except RelightError as failure:
        _wind_up_after(failure, site, run)
        raise
    if run.mode == "rehearse":
        tear_down(site, run)
    return write_report(site, run)


def _rebuild(site: Site, run: Run, workers: int) -> None:
    """From nothing to a closed server that was proved to hold the target's data."""
    if run.mode == "promote":
        salvage(site, run)
    plan = plan_run(site, run)
    inspect_target(site, run)
    restore_snapshot(site, run)
    lanes = plan_lanes(site, run)
    with ThreadPoolExecutor(1) as beside:
        # Lanes start while later logs are still being fetched and split.
        splitting = beside.submit(_split, site, run, plan.segments, workers)
        _replay(site, run, lanes, workers)
    splitting.result()
    _side_by_side(workers, lambda database: validate_database(site, run, database), lanes.databases)
    judge(site, run)
    certify(site, run)


def _back_into_service(site: Site, run: Run, workers: int) -> None:
    """From a proved server to a shard that takes writes and has its replicas."""
    shard = run.shard_of(site.fleet)
    prepare(site, run)
    _replicas(site, run, workers, site.fleet.first_replicas(shard))
    promote(site, run)
    with ThreadPoolExecutor(1) as beside:
        # That somebody cannot be told makes no replica wait.
        announcing = beside.submit(announce, site, run)
        _replicas(site, run, workers, site.fleet.later_replicas(shard))
    announcing.result()


def _replicas(site: Site, run: Run, workers: int, replicas: tuple[Server, ...]) -> None:
    _side_by_side(workers, lambda replica: rebuild_replica(site, run, replica.name), replicas)


def _split(site: Site, run: Run, segments: int, workers: int) -> None:
    _side_by_side(workers, lambda number: split_segment(site, run, number), range(segments))


def _replay(site: Site, run: Run, lanes: LanesSummary, workers: int) -> None:
    """Every lane group; those that wait for something of another are tried once more at the end."""

    def attempt(number: int) -> ReplaySummary | None:
        try:
            return replay_group(site, run, number)
        except LaneBlocked as blocked:
            site.progress.say(str(blocked))
            return None

    numbers = [group.number for group in lanes.groups]
    done = _side_by_side(workers, attempt, numbers)
    blocked = [number for number, result in zip(numbers, done, strict=True) if result is None]
    _side_by_side(workers, lambda number: replay_group(site, run, number), blocked)


def _side_by_side(workers: int, work: Callable[[K], T], keys: range | list[K] | tuple[K, ...]) -> list[T]:
    """Results in order; the first failure is raised when all have ended."""
    with ThreadPoolExecutor(workers) as pool:
        running = [pool.submit(work, key) for key in keys]  # type: ignore[arg-type]
    return [one.result() for one in running]


def _wind_up_after(failure: RelightError, site: Site, run: Run) -> None:
    """The first error is the one that matters; what else goes wrong now is said, not raised."""
    endings = [tear_down, write_report] if run.mode == "rehearse" else [write_report]
    for ending in endings:
        try:
            ending(site, run)
        except RelightError as second:
            site.progress.say(f"after {failure.what!r}: {second}")
