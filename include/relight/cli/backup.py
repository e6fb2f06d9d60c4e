"""``relight backup``: full backups and logs. Run it on the machine of the server that is backed up."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.table import Table

from relight.backups.manifest import Value
from relight.cli.context import FAILED, open_site, readable_errors
from relight.cli.tables import console
from relight.errors import RelightError
from relight.operating_system import machine_errors
from relight.reporting.words import size
from relight.site import Site
from relight.steps.segments import ShippedSummary, ship_segments
from relight.steps.snapshot import SnapshotSummary, take_snapshot

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Take backups: full ones, and the binary logs since."
)

Summary = TypeVar("Summary", bound=Value)

ShardArgument = Annotated[str | None, typer.Argument(help="The shard to back up.", show_default=False)]
AllOption = Annotated[bool, typer.Option("--all", help="Every shard of the fleet, one after the other.")]
FleetOption = Annotated[
    Path | None, typer.Option("--fleet", help="The fleet file. Default: RELIGHT_FLEET, else the lab.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the results as a JSON list.")]


@app.command()
def full(
    shard: ShardArgument = None, all_shards: AllOption = False, fleet: FleetOption = None, as_json: JsonOption = False
) -> None:
    """Clone the backup server, boot the copy to prove it, upload it."""
    _each_shard(shard, all_shards, fleet, take_snapshot, _show_json if as_json else _show_snapshots)


@app.command()
def logs(
    shard: ShardArgument = None,
    all_shards: AllOption = False,
    rotate: Annotated[bool, typer.Option(help="Close the log file being written first.")] = True,
    fleet: FleetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Upload the source's closed binary log files that are not in the store yet."""

    def ship(site: Site, name: str) -> ShippedSummary:
        return ship_segments(site, name, rotate=rotate)

    _each_shard(shard, all_shards, fleet, ship, _show_json if as_json else _show_shipped)


def _each_shard(
    shard: str | None,
    all_shards: bool,
    fleet: Path | None,
    work: Callable[[Site, str], Summary],
    show: Callable[[list[Summary]], None],
) -> None:
    """Do the work for one shard or all. One shard's failure does not keep the others from their backup."""
    if (shard is None) != all_shards:
        raise typer.BadParameter("name a shard, or --all")
    failed = 0
    done: list[Summary] = []
    with readable_errors(), open_site(fleet) as site:
        names = [site.fleet.shard(shard).name] if shard else [one.name for one in site.fleet.shards]
        for name in names:
            try:
                with machine_errors():
                    done.append(work(site, name))
            except RelightError as error:
                if shard:
                    raise
                failed += 1
                print(f"relight: {name}: {error.with_hint()}", file=sys.stderr)
    show(done)
    if failed:
        print(f"relight: {failed} of {len(names)} shards failed", file=sys.stderr)
        raise SystemExit(FAILED)


def _show_json(done: list[Summary]) -> None:
    print("[" + ",\n ".join(summary.model_dump_json() for summary in done) + "]")


def _show_snapshots(done: list[SnapshotSummary]) -> None:
    table = Table("shard", "snapshot", "from", "tables", "rows", "data", "stored", "parts", "seconds", box=None)
    for one in done:
        table.add_row(
            one.shard, one.id, one.server, f"{one.tables:,}", f"{one.rows:,}", size(one.data_bytes),
            size(one.stored_bytes), f"{one.parts:,}", f"{one.seconds:.1f}",
        )  # fmt: skip
    console().print(table)
    _show_notes(done)


def _show_notes(done: Sequence[SnapshotSummary | ShippedSummary]) -> None:
    for one in done:
        for note in one.notes:
            print(f"{one.shard}: {note}")


def _show_shipped(done: list[ShippedSummary]) -> None:
    table = Table("shard", "from", "files", "transactions", "log", "stored", "would be lost now", "seconds", box=None)
    for one in done:
        window = "" if one.loss_window_seconds is None else f", {one.loss_window_seconds:.1f} s"
        table.add_row(
            one.shard, one.server, f"{one.files:,}", f"{one.transactions:,}", size(one.log_bytes),
            size(one.stored_bytes), f"{one.unshipped_transactions:,} transactions{window}", f"{one.seconds:.1f}",
        )  # fmt: skip
    console().print(table)
    _show_notes(done)
