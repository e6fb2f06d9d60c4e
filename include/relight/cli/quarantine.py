"""``relight quarantine``: data directories that were set aside; removing one is a decision of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from relight.cli.context import fleet_if_any, readable_errors
from relight.cli.guard import gtid_set
from relight.cli.tables import console
from relight.errors import FleetError, GuardRefused
from relight.fleet import Fleet
from relight.gtid import GtidSet
from relight.guard.clearance import clear_removal, remove_set_aside
from relight.guard.finding import counted
from relight.guard.quarantine import SetAside, owner_of, set_aside_directories
from relight.reporting.words import size

app = typer.Typer(
    rich_markup_mode=None,
    invoke_without_command=True,
    help="Data directories that were set aside: list them; remove one, if you are sure.",
)

FleetOption = Annotated[
    Path | None, typer.Option("--fleet", help="The fleet file. Default: RELIGHT_FLEET, else the lab.")
]


@app.callback()
def listing(
    context: typer.Context,
    fleet: FleetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List the data directories that were set aside of this machine's servers. Changes nothing."""
    if context.invoked_subcommand is not None:
        return
    with readable_errors():
        found = set_aside_directories(_fleet(fleet))
    if as_json:
        print(json.dumps([_document(one) for one in found], indent=1))
    elif found:
        console().print(_table(found))
    else:
        print("nothing was set aside here")


@app.command()
def remove(
    path: Annotated[Path, typer.Argument(help="The directory, as listed.", show_default=False)],
    confirm: Annotated[
        str, typer.Option(help="The directory's name, for scripts. Without it you are asked to type it.")
    ] = "",
    archived: Annotated[
        str, typer.Option(help="The GTID set that is backed up: other transactions in its logs refuse.")
    ] = "",
    lose_transactions: Annotated[
        bool, typer.Option("--lose-transactions", help="Remove it whatever its logs hold.")
    ] = False,
    fleet: FleetOption = None,
) -> None:
    """Remove a directory that was set aside, for ever. Nothing brings it back."""
    backed_up = gtid_set(archived)
    with readable_errors():
        path = path.absolute()
        server = owner_of(_fleet(fleet), path)
        ask: GtidSet | None = None if lose_transactions else backed_up
        clear_removal(server, path, archived=ask)  # what it would refuse anyhow is not worth typing for
        _confirm(path, confirm)
        # Somebody may have thought about it for an hour.
        removed = remove_set_aside(clear_removal(server, path, archived=ask))
    print(f"removed {path}, {size(removed)}")


def _confirm(path: Path, given: str) -> None:
    """:raises GuardRefused: what was typed is not the directory's name."""
    typed = given or typer.prompt(
        f"{path} will be gone for ever.\nType its name, {path.name}, to remove it", default="", show_default=False
    )
    if typed != path.name:
        raise GuardRefused(
            "it was not confirmed", on=str(path), why=f"{typed!r} is not its name", hint="nothing was touched"
        )  # fmt: skip


def _fleet(named: Path | None) -> Fleet:
    found, _ = fleet_if_any(named)
    if found is None:
        raise FleetError("no fleet file", hint="name it with --fleet or RELIGHT_FLEET")
    return found


def _table(found: list[SetAside]) -> Table:
    table = Table("server", "set aside", "size", "server UUID", "its logs hold", "directory", box=None)
    for one in found:
        table.add_row(
            one.server.name, f"{one.when:%Y-%m-%dT%H:%M:%SZ}", size(one.size), one.server_uuid, _held(one),
            str(one.path),
        )  # fmt: skip
    return table


def _held(one: SetAside) -> str:
    gtids = one.held.logged | one.held.received
    texts = [counted(gtids.count(), "transaction")] if gtids else []
    texts += [f"{one.held.without_gtid:,} without a GTID"] if one.held.without_gtid else []
    texts += [f"{len(one.held.unreadable)} that cannot be read"] if one.held.unreadable else []
    return ", ".join(texts) or "nothing"


def _document(one: SetAside) -> dict[str, object]:
    return {
        "server": one.server.name, "path": str(one.path), "set_aside": f"{one.when:%Y-%m-%dT%H:%M:%SZ}",
        "bytes": one.size, "server_uuid": one.server_uuid, "gtids": str(one.held.logged | one.held.received),
        "without_gtid": one.held.without_gtid, "unreadable": list(one.held.unreadable),
    }  # fmt: skip
