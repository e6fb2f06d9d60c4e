"""What keeps a run from doing once more what it did long ago.

Clearing the tasks of an old run, or giving its id again, carries out its plan as it was made: what was committed and
decided since would be gone, under a certificate that says that all is as planned. So every step that begins something
asks here first.
"""

from __future__ import annotations

from datetime import UTC, datetime

from relight.backups.branches import present_number, refuse_undecided
from relight.backups.catalog import Catalog, load_catalog
from relight.backups.collisions import CLOCKS
from relight.errors import ClaimRefused, PlanError, PlanOutdated
from relight.fencing.epochs import load_epochs
from relight.gtid import GtidSet
from relight.planning.plan import Plan, load_plan
from relight.planning.resolve import make_plan
from relight.server.rebuilt import is_beyond_proof, still_built_by
from relight.site import Run, Site
from relight.store import layout


def refuse_if_over(site: Site, run: Run) -> None:
    """:raises ClaimRefused: the run has opened the shard, and its server is not there any more."""
    if run.mode != "promote" or _is_there(site, run):
        return
    for epoch in load_epochs(site.store, run.shard):
        done = epoch.outcome
        if epoch.claim.run_id == run.run_id and done is not None and done.kind == "opened":
            raise ClaimRefused(
                "the run is over", on=f"{run.shard}, run {run.run_id}",
                why=f"it opened the shard in epoch {done.epoch}, at {done.at:%Y-%m-%d %H:%M:%S} UTC; what was "
                "committed since would be left out",
                hint=f"nothing was touched; start a new run: {run.command()}",
            )  # fmt: skip


def refuse_outdated(site: Site, run: Run, plan: Plan) -> None:
    """Hold a stored plan against what the store holds now. A server that is being promoted by this run stands for it.

    :raises PlanOutdated: the shard has begun another timeline since, or the newest backups lead further.
    """
    if run.mode != "promote" or _nothing_came(site, run, plan) or _is_being_promoted(site, run):
        return
    catalog = load_catalog(site.store, run.shard, parallel=site.fleet.store.parallel)
    refuse_undecided(catalog)
    present = present_number(catalog)
    if run.timeline is None and plan.timeline != present:
        began = next(one for one in catalog.timelines if one.number == present)
        raise _outdated(
            run, plan, f"timeline {present} was begun at {began.began_at:%Y-%m-%d %H:%M:%S} UTC by run {began.run_id}"
        )
    if run.target.kind == "latest" and (left_out := _newer(site, run, plan, catalog)):
        raise _outdated(
            run, plan, f"{left_out.count()} transactions that are in the store would be left out: {left_out}"
        )


def _nothing_came(site: Site, run: Run, plan: Plan) -> bool:
    """Whether nothing was stored of the shard about the time of the plan or since, but what the plan has. That takes no
    more than listings; reading every manifest again at every step would not be cheap."""
    known = {plan.snapshot.manifest_key, *(layout.segment_manifest(one.segment.key) for one in plan.segments)}
    prefixes = (layout.snapshots(run.shard), layout.segments(run.shard), f"{run.shard}/fence/")
    return not any(
        entry.modified > plan.made_at - CLOCKS and entry.key.endswith(".json") and entry.key not in known
        for prefix in prefixes for entry in site.store.list(prefix)
    )  # fmt: skip


def refuse_what_is_over(site: Site, run: Run) -> None:
    """Both, before a step touches anything; its server may be half built by this run.

    :raises ClaimRefused, PlanOutdated: as above.
    """
    refuse_if_over(site, run)
    if not _is_there(site, run):
        refuse_outdated(site, run, load_plan(site.store, run))


def _is_there(site: Site, run: Run) -> bool:
    """Whether this run has built the directory that is there, for certain."""
    return still_built_by(run.server(site.fleet).datadir, run.run_id, site.progress.say)


def _is_being_promoted(site: Site, run: Run) -> bool:
    return _is_there(site, run) and is_beyond_proof(run.server(site.fleet).datadir, run.run_id)


def _newer(site: Site, run: Run, plan: Plan, catalog: Catalog) -> GtidSet:
    try:
        fresh = make_plan(
            catalog, run.target, datetime.now(UTC), reserve=site.fleet.limits.disk_reserve, skip=run.skip,
            timeline=run.timeline,
        )  # fmt: skip
    except PlanError as error:
        # What keeps a new plan from being made is no reason to give up one that can still be carried out.
        site.progress.say(f"{run.shard}: whether the plan is the newest cannot be told: {error}")
        return GtidSet()
    return (fresh.end_gtids or GtidSet()) - (plan.end_gtids or GtidSet())


def _outdated(run: Run, plan: Plan, why: str) -> PlanOutdated:
    return PlanOutdated(
        "the run's plan is out of date", on=f"{run.shard}, run {run.run_id}",
        why=f"it was made at {plan.made_at:%Y-%m-%d %H:%M:%S} UTC; {why}",
        hint=f"nothing was touched; start a new run: {run.command()}",
    )  # fmt: skip
