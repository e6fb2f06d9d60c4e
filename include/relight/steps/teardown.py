"""Step: end a rehearsal. The scratch server is stopped, its data directory removed."""

from __future__ import annotations

import shutil
from pathlib import Path

from relight.backups.manifest import Value
from relight.errors import GuardRefused
from relight.guard.clearance import clear, remove_own
from relight.server import mysqld
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
        # The one thing Relight removes by itself: a copy that this run has made, minutes ago, on a scratch server.
        removed = remove_own(clear(server, "be removed after its rehearsal"), run.run_id)
    _remove_streams(run.folder(site.fleet))
    site.progress.say(f"torn down {server.name}")
    return TeardownSummary(server=server.name, removed_bytes=removed)


def _remove_streams(run_folder: Path) -> None:
    """They are of no use any more; that some cannot be removed must not turn a good rehearsal into a bad one."""
    shutil.rmtree(run_folder / "split", ignore_errors=True)
