"""``relight timeline``: which of a shard's histories is the present one."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from relight.backups.branches import summaries
from relight.backups.catalog import load_catalog
from relight.cli.branches import show_branches
from relight.cli.context import open_site, readable_errors
from relight.cli.planning import FleetOption, JsonOption
from relight.errors import command_line
from relight.steps.begin_timeline import begin_timeline_here

app = typer.Typer(
    rich_markup_mode=None,
    help="Which history of a shard is the present one, and which were given up.",
    no_args_is_help=True,
)

ShardArgument = Annotated[str, typer.Argument(help="The shard.")]


@app.command()
def show(shard: ShardArgument, fleet: FleetOption = None, as_json: JsonOption = False) -> None:
    """Draw the timelines of a shard, with what each gave up."""
    with readable_errors(), open_site(fleet) as site:
        found = summaries(load_catalog(site.store, site.fleet.shard(shard).name, parallel=site.fleet.store.parallel))
    if as_json:
        print(json.dumps([one.model_dump(mode="json") for one in found], indent=1))
    else:
        show_branches(shard, found)


@app.command()
def begin(
    shard: ShardArgument,
    why: Annotated[str, typer.Option(help="Why the store's history does not count any more. It stands in the store.")],
    fleet: FleetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that the shard's source, as it is, is the shard from now on. For servers that were not made by a restore."""
    with readable_errors(), open_site(fleet) as site:
        begun = begin_timeline_here(site, site.fleet.shard(shard).name, why)
    if as_json:
        print(begun.model_dump_json(indent=1))
    else:
        print(f"{shard}: timeline {begun.number} begins with {begun.server}; nothing before it can be restored in it,")
        print(f"so take a full backup now: {command_line('backup', 'full', shard)}")
