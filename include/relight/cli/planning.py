"""``relight catalog`` and ``relight plan``: what is there, and what a restore would do. Nothing is changed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from relight.backups.branches import summaries
from relight.backups.catalog import Catalog, load_catalog
from relight.backups.manifest import SegmentManifest
from relight.backups.reach import Reach, reaches
from relight.cli.branches import show_branches
from relight.cli.context import open_site, readable_errors
from relight.cli.tables import console
from relight.errors import command_line
from relight.gtid import GtidSet
from relight.lane.modes import PlannedMode, planned_modes
from relight.planning.plan import Plan, load_snapshot_manifest
from relight.planning.resolve import make_plan
from relight.planning.target import FORMS, Target
from relight.planning.unreachable import at, text_of
from relight.reporting.words import size
from relight.site import Run

_MODES_SHOWN = 60
TIMELINE = "Follow this timeline instead of the present one; relight catalog draws them."

FleetOption = Annotated[
    Path | None, typer.Option("--fleet", help="The fleet file. Default: RELIGHT_FLEET, else the lab.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")]


def catalog(
    shard: Annotated[str, typer.Argument(help="The shard.", show_default=False)],
    fleet: FleetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the store holds for a shard: snapshots, segments, gaps, damage."""
    with readable_errors(), open_site(fleet) as site:
        found = load_catalog(site.store, site.fleet.shard(shard).name, parallel=site.fleet.store.parallel)
        led, branches = reaches(found), summaries(found)
    if as_json:
        document = {
            **found.model_dump(mode="json"), "reach": [one.model_dump(mode="json") for one in led],
            "branches": [one.model_dump(mode="json") for one in branches],
        }  # fmt: skip
        print(json.dumps(document, indent=1))
    else:
        _show_catalog(found, led)
        if len(branches) > 1:
            show_branches(found.shard, branches)


def plan(
    shard: Annotated[str, typer.Argument(help="The shard.", show_default=False)],
    target: Annotated[str, typer.Option(help=FORMS)] = "latest",
    mode: Annotated[
        Literal["promote", "rehearse"], typer.Option(help="Which server is rebuilt: the shard's source, or its scratch")
    ] = "promote",
    skip_gtid: Annotated[list[str] | None, typer.Option(help="Leave this transaction out. May be repeated.")] = None,
    timeline: Annotated[int | None, typer.Option(min=0, help=TIMELINE)] = None,
    fleet: FleetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a restore would do, step for step. The same plan is what `relight restore` carries out."""
    with readable_errors(), open_site(fleet) as site:
        run = Run(run_id="plan", shard=site.fleet.shard(shard).name, target=Target.parse(target), mode=mode)
        server = run.server(site.fleet).name
        found = load_catalog(site.store, run.shard, parallel=site.fleet.store.parallel)
        made = make_plan(
            found, run.target, datetime.now(UTC), reserve=site.fleet.limits.disk_reserve,
            skip=GtidSet.parse(",".join(skip_gtid or ())), timeline=timeline,
        )  # fmt: skip
        surveys = [planned.segment.survey for planned in made.segments]
        modes = planned_modes(load_snapshot_manifest(site.store, made.snapshot), surveys)
    if as_json:
        tables = [one.model_dump(mode="json") for one in modes]
        print(json.dumps({**made.model_dump(mode="json"), "mode": mode, "server": server, "tables": tables}, indent=1))
    else:
        _show_plan(made, mode, server)
        _show_modes(modes)


def _show_catalog(found: Catalog, led: tuple[Reach, ...]) -> None:
    show = console().print
    snapshots = Table("snapshot", "from", "taken", "tables", "rows", "data", "stored", "reaches", "", box=None)
    for entry, reach in zip(found.snapshots, led, strict=True):
        reference = entry.reference
        snapshots.add_row(
            reference.id, entry.server_name, _short(reference.taken_at), f"{entry.tables:,}", f"{entry.rows:,}",
            size(reference.data_bytes), size(reference.stored_bytes), _short(reach.reaches),
            "" if reach.usable else f"{len(entry.missing)} parts missing",
        )  # fmt: skip
    show(snapshots)
    segments = Table("server", "log file", "transactions", "first commit", "last commit", "log", "stored", "", box=None)
    for segment in found.segments:
        segments.add_row(*_segment_cells(segment), "missing" if segment.key in found.missing else "")
    show(segments)
    for unreadable in found.unreadable:
        show(f"cannot be read: {unreadable.key}: {unreadable.why}", soft_wrap=True)
    for reach in led:
        if reach.missing:
            show(
                f"gap after {reach.snapshot}: {reach.missing.count():,} transactions are in no log: {reach.missing}; "
                f"last reachable point: {at(reach.reaches)}",
                soft_wrap=True,
            )
    if found.undecided:
        show(f"it is not known which timeline the shard follows: {found.undecided}", soft_wrap=True)
    if not found.snapshots:
        show(f"no full backup yet: {command_line('backup', 'full', found.shard)}")


def _show_plan(made: Plan, mode: str, server: str) -> None:
    show = console().print
    facts = Table(box=None, show_header=False)
    snapshot = made.snapshot
    facts.add_row("shard", made.shard)
    facts.add_row("target", str(made.target))
    facts.add_row("reaches", _reaches(made))
    if made.skip:
        facts.add_row("leaves out", f"{made.skip}, if nothing builds on it")
    facts.add_row("onto", f"{server}, {'to be promoted' if mode == 'promote' else 'a rehearsal, never promoted'}")
    facts.add_row("timeline", str(made.timeline))
    facts.add_row("snapshot", f"{snapshot.id} of {_short(snapshot.taken_at)}, {size(snapshot.data_bytes)}")
    facts.add_row("download", size(made.download_bytes))
    facts.add_row("disk needed", size(made.disk_bytes))
    show(facts)
    table = Table(
        "", "server", "log file", "transactions", "first commit", "last commit", "log", "stored", "taken", box=None
    )
    for planned in made.segments:
        taken = f"{planned.take.count():,}" + (", up to the target" if planned.last else "")
        table.add_row(str(planned.number), *_segment_cells(planned.segment), taken)
    show(table)
    for note in made.notes:
        show(f"note: {note}", soft_wrap=True)


def _reaches(made: Plan) -> str:
    """A transaction or a position inside a file is found when the file is read; until then its last commit is told."""
    inside = made.target.kind != "time" and any(planned.last for planned in made.segments)
    return f"{_short(made.reaches)} at the latest" if inside else _short(made.reaches)


def _show_modes(modes: list[PlannedMode]) -> None:
    """How each table will be replayed; of a large schema only those that cannot be replayed by net effect."""
    table = Table("table", "replay", "why", box=None)
    shown = modes if len(modes) <= _MODES_SHOWN else [one for one in modes if one.mode == "ordered"]
    for one in shown:
        table.add_row(f"{one.database}.{one.table}", one.mode, one.reason)
    console().print(table)
    if len(shown) < len(modes):
        console().print(f"and {len(modes) - len(shown):,} tables by net effect; --json lists all")


def _segment_cells(segment: SegmentManifest) -> list[str]:
    times = [_short(time) if time else "" for time in (segment.first_commit, segment.last_commit)]
    return [
        segment.server_uuid[:8], segment.file, f"{segment.transactions:,}", *times, size(segment.log_bytes),
        size(segment.stored_bytes),
    ]  # fmt: skip


def _short(time: datetime) -> str:
    return text_of(time.replace(microsecond=0))
