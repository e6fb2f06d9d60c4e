"""Step: make the plan of a run, and keep it in the store for all later steps."""

from __future__ import annotations

from datetime import UTC, datetime

from relight.backups.catalog import load_catalog
from relight.backups.manifest import Value
from relight.certificate.signing import SigningKey
from relight.errors import ObjectExists, ObjectMissing, PlanError
from relight.outdated import refuse_if_over, refuse_outdated
from relight.planning.plan import Plan, load_plan
from relight.planning.resolve import make_plan
from relight.site import Run, Site
from relight.steps.stepping import step


class PlanSummary(Value):
    """What later tasks are made from."""

    run_id: str
    shard: str
    target: str
    snapshot: str
    segments: int
    files: tuple[str, ...]
    """One label per segment, in order: the file's name, with its server where there are several."""
    reaches: datetime
    data_loss_window_s: float
    """From the last transaction that can be brought back to the moment the plan was made."""
    transactions: int
    """At most so many: of the last segment only those up to the target are taken."""
    download_bytes: int
    disk_bytes: int
    notes: tuple[str, ...]
    timeline: int = 0


@step("plan")
def plan_run(site: Site, run: Run) -> PlanSummary:
    """Make the run's plan and store it. Run again, the stored plan holds.

    :raises PlanError: the target cannot be reached, or the run has a plan for another target.
        PlanOutdated: its plan would leave out what was backed up or decided since. ClaimRefused: the run is over.
        ObjectMissing, ObjectCorrupt: what the plan needs is damaged. FleetError: there is no key to sign with.
    """
    SigningKey.of(site.credentials.login("certificate"))  # nothing is promoted without: better known now than then
    refuse_if_over(site, run)
    plan = _stored(site, run) or _made(site, run)
    without = f" without {plan.skip}" if plan.skip else ""
    followed = plan.timeline if run.timeline is None else run.timeline
    if (plan.target, plan.shard, plan.skip, plan.timeline) != (run.target, run.shard, run.skip, followed):
        raise PlanError(
            "the run has a plan already", on=run.run_id,
            why=f"for {plan.shard} and {plan.target}{without}, timeline {plan.timeline}",
            hint=f"go on with what it was begun for: {_as_planned(run, plan)}; or start a new run: {run.command()}",
        )  # fmt: skip
    for note in plan.notes:
        site.progress.say(f"{run.shard}: {note}")
    return summary_of(run, plan)


def summary_of(run: Run, plan: Plan) -> PlanSummary:
    """The small value of a plan."""
    servers = {planned.segment.server_uuid for planned in plan.segments}
    files = (
        planned.segment.file if len(servers) == 1 else f"{planned.segment.server_uuid[:8]}/{planned.segment.file}"
        for planned in plan.segments
    )
    return PlanSummary(
        run_id=run.run_id, shard=plan.shard, target=str(plan.target), snapshot=plan.snapshot.id,
        segments=len(plan.segments), files=tuple(files), reaches=plan.reaches,
        data_loss_window_s=round((plan.made_at - plan.reaches).total_seconds(), 3),
        transactions=sum(planned.take.count() for planned in plan.segments), download_bytes=plan.download_bytes,
        disk_bytes=plan.disk_bytes, notes=plan.notes, timeline=plan.timeline,
    )  # fmt: skip


def _as_planned(run: Run, plan: Plan) -> str:
    begun = {"target": plan.target, "shard": plan.shard, "skip": plan.skip, "timeline": plan.timeline}
    return run.model_copy(update=begun).command(goes_on=True)


def _stored(site: Site, run: Run) -> Plan | None:
    try:
        plan = load_plan(site.store, run)
    except ObjectMissing:
        return None
    refuse_outdated(site, run, plan)
    return plan


def _made(site: Site, run: Run) -> Plan:
    shard = run.shard_of(site.fleet).name
    site.progress.say(f"{shard}: reading the catalog")
    catalog = load_catalog(site.store, shard, parallel=site.fleet.store.parallel)
    plan = make_plan(
        catalog, run.target, datetime.now(UTC), reserve=site.fleet.limits.disk_reserve, skip=run.skip,
        timeline=run.timeline,
    )  # fmt: skip
    try:
        site.store.put(run.plan_key, plan.model_dump_json().encode())
    except ObjectExists:
        return load_plan(site.store, run)  # another attempt of the same run was faster, and its plan holds
    return plan
