"""``relight rehearse`` and ``relight rehearsals``: prove backups, break things on purpose, and see what was proved."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from relight.cli.context import open_site, readable_errors
from relight.cli.tables import console
from relight.incident.naming import fresh_name
from relight.planning.target import FORMS, Target
from relight.planning.unreachable import text_of
from relight.rehearsal.history import (
    RehearsalRecord,
    ShardHistory,
    coverage,
    load_history,
    next_shards,
    sabotages_for,
    whose_turn,
)
from relight.reporting.page import WITHIN_DAYS
from relight.sabotage import Sabotage
from relight.site import Run, Site

FleetOption = Annotated[
    Path | None, typer.Option("--fleet", help="The fleet file. Default: RELIGHT_FLEET, else the lab.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Choice = Literal["in-turn", "none", Sabotage]


def rehearse(
    shard: Annotated[str, typer.Argument(help="The shard; left out: the one with the oldest proof.")] = "",
    target: Annotated[str, typer.Option(help=FORMS)] = "latest",
    sabotage: Annotated[
        Choice, typer.Option(help="What to break after the proof. in-turn: what was longest not found on this shard.")
    ] = "in-turn",
    workers: Annotated[int, typer.Option(min=1, max=64, help="Lanes replayed side by side.")] = 4,
    fleet: FleetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a shard onto its scratch server, prove it, break something, see that it is found, tear it down."""
    with readable_errors(), open_site(fleet) as site:
        name = site.fleet.shard(shard).name if shard else whose_turn(site.store, site.fleet)[0]
        run = Run(
            run_id=fresh_name("cli"), shard=name, target=Target.parse(target), mode="rehearse",
            sabotages=_sabotages(site, name, sabotage),
        )  # fmt: skip
        site.progress.say(f"rehearsing {name}, run {run.run_id}")
        from relight.recover import recover  # whoever only asks what was proved waits for none of it

        report = recover(site, run, workers=workers)
        (history,) = load_history(site.store, site.fleet, [name])
    record = history.rehearsals[0]
    if as_json:
        print(record.model_dump_json(indent=1))
        return
    drilled = f", {record.sabotage} found by {', '.join(record.caught_by)}" if record.sabotage else ""
    print(
        f"{record.outcome}: {name} to {_short(record.reaches)} in {record.restore_seconds:.1f} s, proved in "
        f"{record.verification_seconds:.1f} s{drilled}: {report.page}"
    )


def rehearsals(
    within_days: Annotated[float, typer.Option(min=0, help="A proof older than that does not count.")] = WITHIN_DAYS,
    fleet: FleetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show per shard when it was last proved, to which point, how long it took, and how much of the fleet is proved."""
    with readable_errors(), open_site(fleet) as site:
        histories = load_history(site.store, site.fleet)
    covered = coverage(histories, datetime.now(UTC), within_days)
    following = next(iter(next_shards(histories, 1)), None)
    if as_json:
        document = {
            "coverage": {**covered.model_dump(mode="json"), "share": covered.share}, "next": following,
            "shards": [one.model_dump(mode="json") for one in histories],
        }  # fmt: skip
        print(json.dumps(document, indent=1))
        return
    show = console().print
    show(_table(histories))
    show(
        f"proved within {within_days:g} days: {covered.proved} of {covered.shards} shards "
        f"({100 * covered.share:.0f} %); {covered.rehearsable} have a scratch server; next: {following or 'none'}"
    )
    for key in (key for one in histories for key in one.unreadable):
        show(f"cannot be read, and proves nothing: {key}", soft_wrap=True)


def _sabotages(site: Site, shard: str, choice: Choice) -> tuple[Sabotage, ...]:
    if choice == "none":
        return ()
    if choice != "in-turn":
        return (choice,)
    return sabotages_for(site.store, site.fleet, shard)


def _table(histories: list[ShardHistory]) -> Table:
    table = Table(
        "shard", "last proved", "to", "restored in", "proved in", "sabotage found", "last rehearsal", box=None
    )
    for one in histories:
        proof = one.proof
        cells = (
            [
                _short(proof.ended), _short(proof.reaches), f"{proof.restore_seconds:.1f} s",
                f"{proof.verification_seconds:.1f} s",
                f"{proof.sabotage} by {', '.join(proof.caught_by)}" if proof.sabotage else "none was done",
            ] if proof else ["never", "", "", "", ""]
        )  # fmt: skip
        table.add_row(one.shard, *cells, _outcome(one, one.last))
    return table


def _outcome(one: ShardHistory, last: RehearsalRecord | None) -> str:
    if last is None:
        return "none" if one.rehearsable else "none: it has no scratch server"
    return f"{last.outcome}: {last.problem}" if last.problem else last.outcome


def _short(time: datetime | None) -> str:
    return text_of(time.replace(microsecond=0)) if time else ""
