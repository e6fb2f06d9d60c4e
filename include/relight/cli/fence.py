"""``relight fence``: who may open a shard, and who did."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from relight.cli.context import open_site, readable_errors
from relight.cli.tables import console
from relight.errors import ClaimRefused, ObjectCorrupt
from relight.fencing.epochs import Epoch, give_up, known_epochs
from relight.planning.unreachable import text_of
from relight.site import Site
from relight.steps.fence_check import FenceCheck, check_fence

app = typer.Typer(rich_markup_mode=None, help="Who may open a shard's server, and who did.", no_args_is_help=True)

FleetOption = Annotated[
    Path | None, typer.Option("--fleet", help="The fleet file. Default: RELIGHT_FLEET, else the lab.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
ShardArgument = Annotated[str, typer.Argument(help="The shard.")]


@app.command()
def show(shard: ShardArgument, fleet: FleetOption = None, as_json: JsonOption = False) -> None:
    """Show every epoch of a shard: who claimed it, when, why, and what became of it."""
    with readable_errors(), open_site(fleet) as site:
        epochs, wrong = known_epochs(site.store, site.fleet.shard(shard).name)
    if as_json:
        print("[" + ",\n ".join(one.model_dump_json() for one in epochs) + "]")
    else:
        _show(epochs)
    with readable_errors():
        for error in wrong:  # of others, the last is raised
            print(f"relight: {error}", file=sys.stderr)
        if wrong:
            raise ClaimRefused(
                "who has the shard is not known", on=shard, why=f"{len(wrong)} epochs cannot be read",
                hint="nobody can open the shard until they can: restore these objects from a copy",
            )  # fmt: skip


def _show(epochs: list[Epoch]) -> None:
    table = Table("epoch", "claimed", "by", "for run", "server", "why", "outcome", box=None)
    for one in epochs:
        claim = one.claim
        table.add_row(
            str(claim.epoch), text_of(claim.at.replace(microsecond=0)), f"{claim.who} on {claim.machine}", claim.run_id,
            f"{claim.server} at {claim.host}:{claim.port}", claim.why, _outcome(one),
        )  # fmt: skip
    console().print(table)


def _outcome(one: Epoch) -> str:
    if one.outcome is None:
        return "open: that run may still open its server"
    return f"{one.outcome.kind} at {text_of(one.outcome.at.replace(microsecond=0))} by {one.outcome.who}"


@app.command()
def check(
    shard: Annotated[str, typer.Argument(help="The shard; left out: every shard.")] = "",
    fleet: FleetOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Close the shard's source, on this machine, if it was promoted and the shard has moved on since."""
    with readable_errors(), open_site(fleet) as site:
        names = [site.fleet.shard(shard).name] if shard else [one.name for one in site.fleet.shards]
        found, wrong = _checked(site, names)
    if as_json:
        print("[" + ",\n ".join(one.model_dump_json() for one in found) + "]")
    else:
        for one in found:
            print(_told(one))
    with readable_errors():
        if wrong:
            raise wrong[0]


def _checked(site: Site, names: list[str]) -> tuple[list[FenceCheck], list[ObjectCorrupt]]:
    """One shard whose objects cannot be read keeps no other from being checked."""
    found, wrong = list[FenceCheck](), list[ObjectCorrupt]()
    for name in names:
        try:
            found.append(check_fence(site, name))
        except ObjectCorrupt as error:
            wrong.append(error)
            print(f"relight: {name}: {error}", file=sys.stderr)
    return found, wrong


def _told(one: FenceCheck) -> str:
    return f"{one.shard}: {one.server}: {one.state} (opened in epoch {one.epoch}, newest {one.newest})"


@app.command()
def release(
    shard: ShardArgument,
    epoch: Annotated[int, typer.Option(help="The epoch whose claim is given up.")],
    why: Annotated[str, typer.Option(help="Why its run will never go on. It stands in the store.")],
    fleet: FleetOption = None,
) -> None:
    """Give up the claim of a run that will not go on, so that another one can promote the shard."""
    with readable_errors(), open_site(fleet) as site:
        outcome = give_up(site.store, site.fleet.shard(shard).name, epoch, who=getpass.getuser(), why=why)
    print(f"{shard}: epoch {outcome.epoch} was given up by {outcome.who}: run {outcome.run_id} cannot open its server")
