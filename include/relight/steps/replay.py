"""Step: replay lanes onto the rebuilt server. This module tells replay's story.

Each lane reads its streams segment by segment in log order, and starts while later segments are still being
fetched and split; it merges many transactions into one commit, and keeps its position in the same commit: killed
anywhere and run again, it goes on at the first change that is not there.
"""

from __future__ import annotations

import time

from relight.backups.manifest import Value
from relight.errors import LaneBlocked
from relight.lane import lane_progress
from relight.lane.applier import LaneApplier
from relight.lane.segments import lane_segment
from relight.planning.plan import load_plan
from relight.run_files import Lane, Lanes, load_lanes, split_folder
from relight.server.closed import start_closed
from relight.server.loading import tune_for_loading
from relight.server.rebuilt import is_beyond_proof
from relight.site import Run, Site
from relight.splitting import split_of
from relight.steps.stepping import step


class ReplaySummary(Value):
    """What a group of lanes did in this attempt."""

    number: int
    label: str
    in_order_again: int
    """How often changes could not be written as planned and were applied in the order of the log."""
    bytes: int
    seconds: float


@step("replay")
def replay_group(site: Site, run: Run, number: int) -> ReplaySummary:
    """Replay the lanes of group ``number``, one after the other.

    :raises LaneBlocked: (retryable) a lane needs something of another lane. ReplayError: it cannot go on.
    """
    lanes = load_lanes(run.folder(site.fleet))
    group = lanes.groups[number]
    server = run.server(site.fleet)
    started = time.monotonic()
    if is_beyond_proof(server.datadir, run.run_id):
        site.progress.say(f"{run.shard} is being promoted by this run, or was: nothing of replay is left")
        return ReplaySummary(number=number, label=group.label, in_order_again=0, bytes=group.bytes, seconds=0.0)
    # A server that died under an earlier attempt is started again; it comes up closed, at its last commit.
    with start_closed(server, site.admin) as session:
        session.run("SET SESSION sql_log_bin = 0")
        tune_for_loading(session)
        lane_progress.enter(session, [lanes.lanes[n] for n in group.lanes])
    in_order_again = 0
    blocked: LaneBlocked | None = None
    for lane in group.lanes:
        try:
            in_order_again += _replay_lane(site, run, lanes, lanes.lanes[lane])
        except LaneBlocked as waiting:
            blocked = waiting  # what it waits for may be in this very group
    if blocked is not None:
        raise blocked
    seconds = time.monotonic() - started
    site.progress.say(f"replayed {group.label}: {group.bytes / 1e6:.1f} MB of log in {seconds:.1f} s")
    return ReplaySummary(
        number=number, label=group.label, in_order_again=in_order_again, bytes=group.bytes, seconds=round(seconds, 3)
    )


def _replay_lane(site: Site, run: Run, lanes: Lanes, lane: Lane) -> int:
    """Gives how often something could not be written as planned and was applied in order."""
    folder = run.folder(site.fleet)
    plan = load_plan(site.store, run)
    site.progress.start(lane.name, lane.bytes)
    with LaneApplier(run.server(site.fleet), site.admin, lane, site.fleet.limits) as applier:
        applier.replay(
            (
                lane_segment(split_folder(folder, number), split_of(site, run, plan, number), lane.databases)
                for number in range(lanes.segments)
            ),
            lambda size: site.progress.advance(lane.name, size),
        )
        return applier.in_order_again
