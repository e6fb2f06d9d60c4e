"""Step: break what a rehearsal has just proved, and see whether the checks find it.

A check that has never found anything proves nothing. The data are damaged on the scratch server, after they were
proved and certified; what is in the store is only looked at as if it were damaged.
"""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable, Mapping

from relight.backups.catalog import load_catalog
from relight.backups.manifest import Value
from relight.checks import check_database, claim_of
from relight.errors import GapError, GuardRefused, ObjectCorrupt, PromotionRefused, SabotageImpossible, SabotageMissed
from relight.planning.plan import load_plan, load_snapshot_manifest
from relight.planning.resolve import make_plan
from relight.rehearsal.data import OF_DATA, damage_database, done_before
from relight.rehearsal.replica import leave_behind
from relight.rehearsal.stored import Flipped, Without
from relight.run_files import CheckResult, certificate_path, load_checks, load_lanes
from relight.sabotage import CHAIN, STORED_BYTES, Damage, Sabotage
from relight.server.rebuilt import built_by
from relight.server.session import connect
from relight.site import Run, Site
from relight.steps.stepping import step
from relight.store import layout
from relight.unpacking import unpack

_MOST_TOLD = 5


class DrillSummary(Value):
    """What was broken, and what found it. Empty where nothing was to be broken."""

    sabotage: Sabotage | None = None
    what: str = ""
    """What was done, in words."""
    check: str = ""
    """The check that had to find it, and did."""
    caught_by: tuple[str, ...] = ()
    """Every check that found something."""
    findings: tuple[str, ...] = ()
    """The first things that were found."""


@step("drill")
def drill(site: Site, run: Run) -> DrillSummary:
    """Do the first of the run's sabotages that is possible, and pass only if the check that it is meant for finds it.

    :raises SabotageMissed: it does not, or something is found that the sabotage did not do.
        SabotageImpossible: nothing of the shard lends itself to any of them.
        PromotionRefused: the server was not proved, so nobody could tell what the sabotage did.
    """
    if not run.sabotages:
        return DrillSummary()
    _refuse_what_is_not_meant(site, run)
    # From the run, so that an attempt which goes on after a crash does the same again.
    draw = random.Random(run.run_id)  # noqa: S311 -- it draws what to break, and keeps no secret
    for sabotage in run.sabotages:
        found = _do(site, run, sabotage, draw)
        if found is None:
            site.progress.say(f"{sabotage}: not possible here")
            continue
        damage, findings = found
        site.progress.say(f"{sabotage}: {damage.what}")
        summary = _passed(run, damage, findings)
        site.progress.say(f"{sabotage}: found by {', '.join(summary.caught_by)}")
        return summary
    raise SabotageImpossible(
        "nothing of the shard can be sabotaged in this way", on=run.shard, why=", ".join(run.sabotages),
        hint="choose another kind; losing a segment needs two of them, and rows need a log that has written some",
    )  # fmt: skip


def _refuse_what_is_not_meant(site: Site, run: Run) -> None:
    if run.mode != "rehearse" or not built_by(run.server(site.fleet).datadir, run.run_id):
        raise GuardRefused("only what a rehearsal has built is sabotaged", on=run.shard, hint="nothing was touched")
    if not certificate_path(run.folder(site.fleet)).exists():
        raise PromotionRefused("the rehearsal has proved nothing yet", on=run.shard, why="it has no certificate")


Findings = list[tuple[str, str]]
"""Check and finding."""


def _do(site: Site, run: Run, sabotage: Sabotage, draw: random.Random) -> tuple[Damage, Findings] | None:
    ways: Mapping[Sabotage, Callable[[Site, Run, random.Random], tuple[Damage, Findings] | None]] = {
        "lose_segment": _lose_segment, "flip_bit": _flip_bit, "leave_replica_behind": _leave_replica_behind,
    }  # fmt: skip
    return _damage_data(site, run, sabotage, draw) if sabotage in OF_DATA else ways[sabotage](site, run, draw)


def _passed(run: Run, damage: Damage, findings: Findings) -> DrillSummary:
    """:raises SabotageMissed: the check that must find it has not, or there is more than it did."""
    named = re.compile("|".join(rf"(?<![\w.]){re.escape(one)}(?!\w)" for one in damage.on))
    mine = [(check, text) for check, text in findings if named.search(text)]
    others = [f"{check}: {text}" for check, text in findings if (check, text) not in mine]
    caught_by = tuple(dict.fromkeys(check for check, _ in mine))
    if damage.check not in caught_by:
        raise SabotageMissed(
            "a sabotage was not found", on=run.shard,
            why=f"{damage.what}; {damage.check} had to find it, and {', '.join(caught_by) or 'no check'} did",
            hint="do not rely on this check until it is known why",
        )  # fmt: skip
    if others:
        raise SabotageMissed(
            "something was found that the sabotage did not do", on=run.shard,
            why=f"{damage.what}; found: {'; '.join(others[:_MOST_TOLD])}",
            hint="the same checks found nothing of it before; look whether something else writes to the scratch server",
        )  # fmt: skip
    return DrillSummary(
        sabotage=damage.sabotage, what=damage.what, check=damage.check, caught_by=caught_by,
        findings=tuple(f"{check}: {text}" for check, text in mine[:_MOST_TOLD]),
    )  # fmt: skip


def _damage_data(site: Site, run: Run, sabotage: Sabotage, draw: random.Random) -> tuple[Damage, Findings] | None:
    databases = list(load_lanes(run.folder(site.fleet)).databases)
    draw.shuffle(databases)
    with connect(run.server(site.fleet), site.admin) as session:
        damage = done_before(session, sabotage)
    for database in databases:
        if damage is None:
            with connect(run.server(site.fleet), site.admin) as session:
                damage = damage_database(session, claim_of(site, run, database), sabotage, draw)
    if damage is None:
        return None
    touched = sorted({name.partition(".")[0] for name in damage.on})
    before = _told(load_checks(run.folder(site.fleet)))
    now = _told([check for database in touched for check in check_database(site, run, database)[1]])
    return damage, [one for one in now if one not in before]


def _told(checks: list[CheckResult]) -> Findings:
    return [(check.check, finding) for check in checks if check.verdict != "match" for finding in check.findings]


def _lose_segment(site: Site, run: Run, draw: random.Random) -> tuple[Damage, Findings] | None:
    """Plan once more, from a store that has lost a segment which the plan needs."""
    plan = load_plan(site.store, run)
    # The loss of the last one nobody can notice: the history just ends sooner.
    victims = [planned.segment for planned in plan.segments[:-1] if planned.take]
    draw.shuffle(victims)
    parallel, reserve = site.fleet.store.parallel, site.fleet.limits.disk_reserve
    for victim in victims:
        lost = frozenset({victim.key, layout.segment_manifest(victim.key)})
        what = f"segment {victim.file} with {victim.transactions} transactions was lost"
        damage = Damage(sabotage="lose_segment", check=CHAIN, on=(str(victim.gtids),), what=what)
        try:
            catalog = load_catalog(Without(site.store, lost), run.shard, parallel=parallel)
            again = make_plan(catalog, run.target, plan.made_at, reserve=reserve, skip=run.skip, timeline=run.timeline)
        except GapError as gap:
            return damage, [(CHAIN, f"{gap} (lost: {victim.gtids})")]
        held = again.snapshot.gtids
        for planned in again.segments:
            held = held | planned.take
        if not victim.gtids - plan.skip <= held:
            return damage, []
        # Another server's log, or a newer snapshot, holds the same transactions: nothing is lost.
    return None


def _flip_bit(site: Site, run: Run, draw: random.Random) -> tuple[Damage, Findings] | None:
    """Unpack a part of the snapshot once more, from a store that has a bit of it wrong."""
    manifest = load_snapshot_manifest(site.store, load_plan(site.store, run).snapshot)
    victim = draw.choice(manifest.parts)
    bit = draw.randrange(8 * victim.size)
    what = f"bit {bit} of part {victim.key} was flipped"
    damage = Damage(sabotage="flip_bit", check=STORED_BYTES, on=(victim.key,), what=what)
    paths = {extent.path for extent in victim.extents}
    alone = manifest.model_copy(
        update={"parts": (victim,), "files": tuple(one for one in manifest.files if one[0] in paths)}
    )
    folder = run.folder(site.fleet) / "flipped"
    try:
        unpack(Flipped(site.store, victim.key, bit), alone, folder, site.progress, parallel=1)
    except ObjectCorrupt as error:
        return damage, [(STORED_BYTES, str(error))]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return damage, []


def _leave_replica_behind(site: Site, run: Run, _draw: random.Random) -> tuple[Damage, Findings] | None:
    return leave_behind(run.server(site.fleet), site.admin, site.credentials.login("replication"))
