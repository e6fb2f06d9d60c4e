"""``relight lab``: a real fleet on this machine."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from relight.lab import fleet
from relight.lab import install as installing
from relight.lab.place import Place
from relight.lab.status import LabStatus, lab_status

app = typer.Typer(no_args_is_help=True, help="A real fleet on this machine: for the demo, for practice, for tests.")


@app.command()
def install() -> None:
    """Get a MySQL server and an S3 server, below .lab, unless they are there."""
    installing.install(Place.find(), _say("setup"))


@app.command()
def up(
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove an earlier fleet and its backups first.")] = False,
) -> None:
    """Start the lab: an S3 server and two shards of three MySQL servers."""
    place = Place.find()
    fleet.up(place, _say("lab"), fresh=fresh)
    typer.echo(f"lab: fleet file {place.fleet_file}, passwords {place.credentials_file}")


@app.command()
def down() -> None:
    """Stop everything that the lab started. The data stay."""
    fleet.down(Place.find(), _say("lab"))


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Show what runs."""
    found = lab_status(Place.find())
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(found), indent=2))
    else:
        _show(found)


@app.command()
def destroy(shard: Annotated[str, typer.Argument(help="The shard to lose.")]) -> None:
    """Kill all servers of a shard and empty their data directories, as a reinstall script would."""
    place = Place.find()
    killed = fleet.destroy(place, fleet.lab_fleet(place).shard(shard))
    typer.echo(f"lab: {shard} is lost: {killed} mysqld killed, data directories emptied")


def _say(topic: str) -> fleet.Say:
    return lambda text: typer.echo(f"{topic}: {text}")


def _show(found: LabStatus) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = 160  # nobody's window: do not cut what a pipe or a log gets
    if not found.servers:
        console.print("No lab here yet: relight lab up")
        return
    table = Table("server", "role", "port", "process", "state", "transactions", "behind", "replication", box=None)
    for server in found.servers:
        values = (server.name, server.role, server.port, server.pid, server.condition, server.transactions)
        cells = ["" if value is None else str(value) for value in (*values, server.behind, server.replication)]
        table.add_row(*cells)
    console.print(table)
    for name, pid in found.processes.items():
        console.print(f"{name}: process {pid}", highlight=False)
    console.print(f"object store: {found.endpoint}", highlight=False)
