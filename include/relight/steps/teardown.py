"""Step: end a rehearsal. The scratch server is stopped, its data directory removed."""

from __future__ import annotations

import shutil

from relight.backups.manifest import Value
from relight.errors import GuardRefused
from relight.server import guard, mysqld
from relight.server.rebuilt import built_by
from relight.site import Run, Site
from relight.steps.stepping import step


class TeardownSummary(Value):
    """What was cleared away."""

    server: str
    removed_bytes: int


@step("teardown")
def tear_down(site: Site, run: Run) -> TeardownSummary:
    """Stop the scratch server and remove the data directory that this very rehearsal has built.

    :raises GuardRefused: this is no rehearsal, or the directory is not this run's.
    """
    if run.mode != "rehearse":
        raise GuardRefused("only a rehearsal is torn down", on=run.shard, hint="nothing was touched")
    server = run.server(site.fleet)
    removed = 0
    if built_by(server.datadir, run.run_id):
        mysqld.stop(server, site.admin)
        clearance = guard.clear(server, "be removed after its rehearsal")
        if clearance is not None:
            aside = guard.set_aside(clearance)
            removed = sum(p.stat().st_size for p in aside.rglob("*") if p.is_file())
            # The one thing Relight removes: a copy that this run has made, minutes ago, on a scratch server.
            shutil.rmtree(aside)
    # Streams are of no use any more; that some cannot be removed must not turn a good rehearsal into a bad one.
    shutil.rmtree(run.folder(site.fleet) / "split", ignore_errors=True)
    site.progress.say(f"torn down {server.name}")
    return TeardownSummary(server=server.name, removed_bytes=removed)
