"""Step: take back what a run that will not go on has left: its claim on the shard, and the servers it was building.

Not a step of a restore. A person gives it, on the machine where the run was at work, once nothing of it runs any more.
"""

from __future__ import annotations

from relight.backups.manifest import Value
from relight.errors import ClaimRefused, ObjectCorrupt
from relight.fencing.epochs import give_up, load_epochs
from relight.fleet import Server
from relight.guard.clearance import clear, set_aside_own
from relight.promotion import who
from relight.server import mysqld
from relight.server.locality import is_this_machine
from relight.server.rebuilt import Mark, read_mark
from relight.site import Run, Site
from relight.steps.stepping import step


class Abandoned(Value):
    """What was taken back."""

    shard: str
    epoch: int | None
    """The claim that was given up; None: the run had none."""
    set_aside: dict[str, str]
    """Servers on this machine that the run has built, and where their data directories lie now."""


@step("abandon")
def abandon(site: Site, run: Run, why: str) -> Abandoned:
    """Give the run's claim up, so that it can open nothing any more; then stop and set aside what it has built here.

    Nothing is deleted. Given again, it finds its work done.

    :raises ClaimRefused: the run has opened the shard. GuardRefused: a directory is in use by something else too.
        ServerError: a server did not stop.
    """
    built = _built_here(site, run)  # first: where one of them was opened, nothing is given up
    epoch = _give_claim_up(site, run, why)
    aside = {}
    for server in built:
        mysqld.stop(server, site.admin)
        aside[server.name] = str(set_aside_own(clear(server, "be set aside with its run"), run.run_id))
        site.progress.say(f"{server.name}: stopped and set aside as {aside[server.name]}")
    return Abandoned(shard=run.shard, epoch=epoch, set_aside=aside)


def _built_here(site: Site, run: Run) -> list[Server]:
    """The shard's servers on this machine whose data directories this run has built."""
    shard = run.shard_of(site.fleet)
    here = [one for one in shard.with_scratch if is_this_machine(one.host)]
    marks = {server.name: _mark(site, server) for server in here}
    for server in here:
        mark = marks[server.name]
        if mark is not None and mark.run_id == run.run_id and mark.state == "promoted":
            raise _opened(run, f"{server.name} says that it was promoted")
    return [server for server in here if (mark := marks[server.name]) is not None and mark.run_id == run.run_id]


def _give_claim_up(site: Site, run: Run, why: str) -> int | None:
    mine = [one for one in load_epochs(site.store, run.shard) if one.claim.run_id == run.run_id]
    for epoch in mine:
        if epoch.outcome is not None and epoch.outcome.kind == "opened":
            raise _opened(run, f"in epoch {epoch.claim.epoch}, at {epoch.outcome.at:%Y-%m-%d %H:%M:%S} UTC")
    for epoch in mine:
        if epoch.is_open:
            give_up(site.store, run.shard, epoch.claim.epoch, who=who(run), why=why)
            site.progress.say(f"{run.shard}: the claim on epoch {epoch.claim.epoch} was given up")
    return mine[-1].claim.epoch if mine else None


def _opened(run: Run, when: str) -> ClaimRefused:
    return ClaimRefused(
        "the run has opened the shard", on=f"{run.shard}, run {run.run_id}", why=when,
        hint="nothing was touched: its servers are the shard's now, not what was left over",
    )  # fmt: skip


def _mark(site: Site, server: Server) -> Mark | None:
    try:
        return read_mark(server.datadir)
    except ObjectCorrupt as error:
        site.progress.say(f"{server.name}: it is not known who has built it, so it is left alone: {error}")
        return None
