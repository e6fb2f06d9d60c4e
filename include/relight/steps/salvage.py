"""Step: ship what a lost source's own disk still holds and the store lacks.

The newest commits of a lost server are in no backup, but may lie in its binary logs, in its data directory or in one
that was set aside. They are read without starting a server and shipped like any others, so that plan, replay and
proof treat them alike.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from relight.backups.branches import Branch, branch_of, present_number, timeline_of
from relight.backups.catalog import Catalog, archived_in, load_catalog
from relight.backups.manifest import GtidField, Value
from relight.backups.present import refuse_other_content
from relight.backups.shipping import Digests, Origin, ship
from relight.certificate.document import SignedCertificate
from relight.errors import GuardRefused, ObjectCorrupt, PlanError
from relight.fleet import Server
from relight.gtid import GtidSet
from relight.guard.looking import refuse_if_alive
from relight.guard.quarantine import directories_of
from relight.lane.survey import survey
from relight.outdated import refuse_if_over
from relight.reading import read_json
from relight.salvaging import FoundLogs, find_logs, known_before
from relight.server.rebuilt import NEVER_OPEN, Mark, read_mark
from relight.site import Run, Site
from relight.steps.stepping import step


class SalvageSummary(Value):
    """What was found beyond the store, and what became of it."""

    transactions: int
    gtids: GtidField = GtidSet()
    files: tuple[str, ...] = ()
    newest_commit: datetime | None = None
    shipped: bool = False
    notes: tuple[str, ...] = ()
    """What lies there and could not be used, and why."""


@step("salvage")
def salvage(site: Site, run: Run) -> SalvageSummary:
    """Look at the source's own directories; ship what the store lacks, unless the run says not to.

    A directory is used only if it holds the whole history that the run follows: another one is from before an earlier
    restore, and its rest was given up then. Where something is alive nothing is read: the guard will say so.

    :raises ClaimRefused: the run is over.
    """
    refuse_if_over(site, run)
    source = run.shard_of(site.fleet).source
    try:
        refuse_if_alive(source, "be read")
    except GuardRefused as alive:
        return SalvageSummary(transactions=0, notes=(str(alive),))
    catalog = load_catalog(site.store, run.shard, parallel=site.fleet.store.parallel)
    archived, branch = archived_in(catalog), _followed(run, catalog)
    scratch = run.folder(site.fleet) / "salvage"
    notes: list[str] = []
    shipped: list[SalvageSummary] = []
    for folder in _folders(source):
        found = find_logs(folder, archived, scratch / folder.name)
        if found is None:
            continue
        if found.problem:
            notes.append(f"{folder}: read up to a file that cannot be read: {found.problem}")
        shipped.append(_from(site, run, catalog, archived, branch, found, notes))
    summary = _in_sum(shipped, notes)
    _say(site, run, summary)
    return summary


def _followed(run: Run, catalog: Catalog) -> Branch:
    try:
        return branch_of(catalog, run.timeline)
    except PlanError:
        # The plan will say what is unclear. Until then only what has everything that is known is taken.
        return Branch(present_number(catalog), None, ())


def _folders(source: Server) -> list[Path]:
    """The data directory and what was set aside of it, but for what Relight has rebuilt and never opened."""
    folders = [folder for folder in (source.datadir, *reversed(directories_of(source))) if folder.is_dir()]
    marks = {folder: _mark(folder) for folder in folders}
    return [folder for folder, mark in marks.items() if mark is None or mark.state not in NEVER_OPEN]


def _mark(folder: Path) -> Mark | None:
    """One that cannot be read tells nothing; the logs beside it still do."""
    try:
        return read_mark(folder)
    except ObjectCorrupt:
        return None


def _from(
    site: Site, run: Run, catalog: Catalog, archived: GtidSet, branch: Branch, found: FoundLogs, notes: list[str]
) -> SalvageSummary:
    before = _before(site, run, catalog, found)
    lacking = found.gtids - archived
    if not lacking:
        return SalvageSummary(transactions=0)
    if before is None:
        notes.append(f"{found.folder}: {lacking} cannot be used: nothing tells what came before the server's first log")
        return SalvageSummary(transactions=0)
    whole = found.history | before
    if gone := (archived if branch.within is None else branch.within) - whole:
        notes.append(f"{found.folder}: {lacking} belongs to a history without {gone}, which is in the store")
        return SalvageSummary(transactions=0)
    if (number := timeline_of(whole, catalog.timelines)) != branch.number:
        notes.append(f"{found.folder}: {lacking} belongs to timeline {number}, and {branch.number} is followed")
        return SalvageSummary(transactions=0)
    wanted = [(path, summary) for path, summary in found.files if summary.gtids - archived]
    if run.salvage:
        _ship(site, run, catalog, found, before, [path for path, _ in wanted])
    commits = [summary.last_commit for _, summary in wanted if summary.last_commit]
    return SalvageSummary(
        transactions=lacking.count(), gtids=lacking, files=tuple(f"{found.folder}/{path.name}" for path, _ in wanted),
        newest_commit=max(commits, default=None), shipped=run.salvage,
    )  # fmt: skip


def _before(site: Site, run: Run, catalog: Catalog, found: FoundLogs) -> GtidSet | None:
    """What is in no log of this server and yet came before them."""
    known = known_before(found.server_uuid, catalog.segments)
    mark = _mark(found.folder)
    if known is not None or mark is None or mark.state != "promoted":
        return known
    # A server that was promoted and never shipped anything: its certificate says what it began with.
    keys = [one.key for one in site.store.list(f"{run.shard}/runs/{mark.run_id}/certificates/")]
    if not keys:
        return None
    content = site.store.get(keys[-1])
    return read_json(SignedCertificate, content, on=keys[-1], what="a certificate").certificate.gtids


def _ship(site: Site, run: Run, catalog: Catalog, found: FoundLogs, before: GtidSet, files: Sequence[Path]) -> None:
    digests = Digests(run.folder(site.fleet) / "salvage" / f"{found.server_uuid}.json")
    origin = Origin(run.shard, found.server_uuid, before - found.gtids)
    for path in files:
        label = f"{run.shard}: salvage {path.name}"
        refuse_other_content(catalog, path, found.server_uuid, digests.of(path))
        site.progress.start(label, path.stat().st_size)
        ship(site.store, origin, path, digests.of(path), functools.partial(site.progress.advance, label), survey)
    digests.save()


def _in_sum(parts: Sequence[SalvageSummary], notes: Sequence[str]) -> SalvageSummary:
    gtids = functools.reduce(GtidSet.__or__, (part.gtids for part in parts), GtidSet())
    return SalvageSummary(
        transactions=gtids.count(), gtids=gtids, files=tuple(file for part in parts for file in part.files),
        newest_commit=max((part.newest_commit for part in parts if part.newest_commit), default=None),
        shipped=any(part.shipped for part in parts), notes=tuple(notes),
    )  # fmt: skip


def _say(site: Site, run: Run, summary: SalvageSummary) -> None:
    for note in summary.notes:
        site.progress.say(f"{run.shard}: {note}")
    if not summary.transactions:
        site.progress.say(f"{run.shard}: nothing lies on disk here that the store lacks")
        return
    what = "shipped" if summary.shipped else "lie on disk and will be lost, since the run does not salvage"
    site.progress.say(f"{run.shard}: {summary.transactions} transactions, up to {summary.newest_commit}, {what}")
