"""Step: decide which databases share a lane, and which lanes share a task."""

from __future__ import annotations

from relight.backups.manifest import SnapshotManifest, Value
from relight.durable import write_whole
from relight.errors import SkipRefused
from relight.lane.dependants import dependants
from relight.lane.laning import Content, content_of, default_connections, make_lanes
from relight.lane.segments import lane_segment
from relight.planning.plan import Plan, PlannedSegment, load_plan, load_snapshot_manifest
from relight.run_files import LaneGroup, lanes_path, load_skipped, skipped_folder, split_folder
from relight.site import Run, Site
from relight.splitting import split_of
from relight.steps.stepping import step


class LanesSummary(Value):
    """What the next tasks are mapped over."""

    groups: tuple[LaneGroup, ...]
    databases: tuple[str, ...]
    transactions: int
    log_bytes: int


@step("lanes")
def plan_lanes(site: Site, run: Run) -> LanesSummary:
    """Tie databases into lanes and balance lanes over tasks.

    What a segment means for lanes was found out when it was shipped. Only segments of which not everything is
    taken, and those of which nothing is known, are split first.

    :raises UnsupportedEvent: a segment holds something that no replay can carry. SkipRefused: transactions depend
        on one that is to be left out.
    """
    plan = load_plan(site.store, run)
    folder = run.folder(site.fleet)
    snapshot = load_snapshot_manifest(site.store, plan.snapshot)
    if plan.skip:
        _refuse_dependants(site, run, plan, snapshot)
    contents = [_content(site, run, plan, planned) for planned in plan.segments]
    lanes = make_lanes(
        snapshot, contents, shard=run.shard, most_groups=site.fleet.limits.lane_groups,
        connections=site.fleet.limits.connections or default_connections(),
    )  # fmt: skip
    write_whole(lanes_path(folder), lanes.model_dump_json())
    site.progress.say(
        f"{len(lanes.lanes)} lanes in {len(lanes.groups)} tasks: {lanes.transactions} transactions, "
        f"{lanes.log_bytes / 1e6:.1f} MB of log"
    )
    return LanesSummary(
        groups=lanes.groups, databases=lanes.databases, transactions=lanes.transactions, log_bytes=lanes.log_bytes
    )


def _refuse_dependants(site: Site, run: Run, plan: Plan, snapshot: SnapshotManifest) -> None:
    """Nothing is replayed before it is known that nothing builds on what is left out."""
    folder = run.folder(site.fleet)
    rest, skipped = [], []
    for planned in plan.segments:
        split = split_of(site, run, plan, planned.number)
        place = split_folder(folder, planned.number)
        rest.append(lane_segment(place, split, [stream.database for stream in split.streams]))
        if planned.skip:
            beside = load_skipped(place)
            skipped.append(lane_segment(skipped_folder(place), beside, [stream.database for stream in beside.streams]))
    found = dependants(skipped, rest, snapshot.tables)
    if found.count:
        more = f", and {found.count - len(found.named)} more" if found.count > len(found.named) else ""
        raise SkipRefused(
            "transactions build on one that is to be left out", on=str(plan.skip),
            why=f"{found.count} of them: {', '.join(found.named)}{more}",
            hint="leave these out too, or restore to just before it (--target before:...)",
        )  # fmt: skip
    site.progress.say(f"nothing builds on {plan.skip}, which is left out")


def _content(site: Site, run: Run, plan: Plan, planned: PlannedSegment) -> Content:
    segment, known = planned.segment, planned.segment.survey
    whole = not planned.last and planned.take == segment.gtids
    if whole and known is not None and not known.problem:
        return Content(
            known.bytes, known.ties, planned.take, segment.transactions, segment.log_bytes, known.xa, known.numbered
        )
    return content_of(split_of(site, run, plan, planned.number))
