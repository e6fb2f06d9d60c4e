"""``relight abandon``: clear up behind a run that was cancelled."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from relight.cli.context import open_site, readable_errors
from relight.errors import FleetError, ObjectCorrupt
from relight.guard.quarantine import servers_here
from relight.planning.target import Target
from relight.server.rebuilt import read_mark
from relight.site import Run, Site
from relight.steps.abandon import Abandoned
from relight.steps.abandon import abandon as take_back


def abandon(
    run_id: Annotated[str, typer.Argument(help="The run that will not go on, by the id that its messages name.")],
    shard: Annotated[
        str | None, typer.Option(help="Its shard. Left out: that of the servers on this machine that it has built.")
    ] = None,
    why: Annotated[str, typer.Option(help="Why it will not go on. It stands in the store.")] = "abandoned by hand",
    fleet: Annotated[
        Path | None, typer.Option("--fleet", help="The fleet file. Default: RELIGHT_FLEET, else the lab.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Take back what a cancelled run has left: give its claim up, stop the servers it was building on this machine,
    and set their directories aside. Cancel the run itself first. Nothing is deleted, and nothing that was opened is
    touched."""
    with readable_errors(), open_site(fleet) as site:
        run = Run(run_id=run_id, shard="", target=Target(kind="latest"))
        names = [site.fleet.shard(shard).name] if shard else _shards_of(site, run.run_id)
        done = [take_back(site, run.model_copy(update={"shard": name}), why) for name in names]
    if as_json:
        print("[" + ",\n ".join(one.model_dump_json() for one in done) + "]")
    else:
        print("\n".join(_told(one) for one in done))


def _shards_of(site: Site, run_id: str) -> list[str]:
    here = {server.name for server in servers_here(site.fleet) if _built_by(server.datadir) == run_id}
    found = [one.name for one in site.fleet.shards if here & {server.name for server in one.with_scratch}]
    if not found:
        raise FleetError(
            "nothing on this machine was built by the run", on=run_id,
            hint="run this on the machine of the server that it was rebuilding; or name the shard with --shard to give "
            "its claim up from here",
        )  # fmt: skip
    return found


def _built_by(datadir: Path) -> str | None:
    try:
        mark = read_mark(datadir)
    except ObjectCorrupt:
        return None  # nobody's: it is left alone
    return mark.run_id if mark else None


def _told(one: Abandoned) -> str:
    claim = "it had no claim" if one.epoch is None else f"its claim on epoch {one.epoch} is given up"
    aside = [f"{server} was stopped and lies in {path}" for server, path in one.set_aside.items()]
    return f"{one.shard}: {claim}; " + ("; ".join(aside) or "it has built nothing on this machine")
