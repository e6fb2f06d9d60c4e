"""Step: let the machine look at itself before anything is fetched, so that a refusal costs seconds."""

from __future__ import annotations

from relight.backups.catalog import archived_in, load_catalog
from relight.backups.manifest import Value
from relight.errors import ObjectCorrupt
from relight.fleet import Server
from relight.gtid import GtidSet
from relight.guard.looking import refuse_if_alive, refuse_if_too_small
from relight.outdated import refuse_what_is_over
from relight.planning.plan import load_plan
from relight.server.programs import refuse_unusable
from relight.server.rebuilt import NEVER_OPEN, read_mark, still_built_by
from relight.site import Run, Site
from relight.steps.stepping import step


class Findings(Value):
    """A machine that may be rebuilt."""

    server: str
    datadir: str
    free_bytes: int
    needed_bytes: int
    resumed: bool
    """Whether this run has built the data directory already, so that a server may be running on it."""


@step("guard")
def inspect_target(site: Site, run: Run) -> Findings:
    """Ask the guard about the server that will be rebuilt. Replicas are asked when their turn comes, on
    their own machines.

    :raises GuardRefused: it shows signs of life, holds transactions that are nowhere else, or its disk is too small.
    """
    refuse_what_is_over(site, run)
    plan = load_plan(site.store, run)
    server = run.server(site.fleet)
    refuse_unusable(server)
    resumed = still_built_by(server.datadir, run.run_id, site.progress.say)
    if not resumed:
        refuse_if_alive(server, "be rebuilt", archived=_archived(site, run, server))
    needed = 0 if resumed else plan.disk_bytes
    free = refuse_if_too_small(server, needed)
    found = "holds what this run has built already" if resumed else "shows no sign of life"
    site.progress.say(f"guard: {server.name} {found}, {free / 1e9:.1f} GB free")
    return Findings(
        server=server.name, datadir=str(server.datadir), free_bytes=free, needed_bytes=needed, resumed=resumed
    )


def _archived(site: Site, run: Run, server: Server) -> GtidSet | None:
    """What the logs in the directory are compared with. None: they do not count, since the run was told to leave them,
    it is a rehearsal, or another run has built the directory and never opened it."""
    try:
        mark = read_mark(server.datadir)
    except ObjectCorrupt:
        mark = None  # it may have been open, and hold what is nowhere else
    if run.mode != "promote" or not run.salvage or (mark is not None and mark.state in NEVER_OPEN):
        return None
    return archived_in(load_catalog(site.store, run.shard, parallel=site.fleet.store.parallel))
