"""``relight fleet``: every shard on one screen, the worst first."""

from __future__ import annotations

from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from relight.cli.context import open_site, readable_errors
from relight.cli.tables import console
from relight.forecast.words import duration
from relight.overview.card import Card, Health, Overview
from relight.overview.looking import look_over
from relight.reporting.words import size

FleetOption = Annotated[
    Path | None, typer.Option("--fleet", help="The fleet file. Default: RELIGHT_FLEET, else the lab.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
_WORST_FIRST: Final[tuple[Health, ...]] = ("bad", "unknown", "warning", "good")


def fleet_(
    match: Annotated[str, typer.Option(help="Only shards whose name matches, as in 'shop-*'.")] = "*",
    tier: Annotated[int | None, typer.Option(min=1, max=9, help="Only shards of this tier.")] = None,
    health: Annotated[
        Health | None, typer.Option(help="Only shards of this health.")
    ] = None,
    fleet: FleetOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Look at every shard: how far it is backed up, what is proved of it, how long a restore would take."""
    with readable_errors(), open_site(fleet) as site:
        seen = look_over(site)
    chosen = [
        card for card in seen.cards
        if fnmatchcase(card.shard, match) and tier in (None, card.tier) and health in (None, card.health)
    ]  # fmt: skip
    chosen.sort(key=lambda card: (_WORST_FIRST.index(card.health), card.tier, card.shard))
    shown = seen.model_copy(update={"cards": tuple(chosen)})
    if as_json:
        print(shown.model_dump_json(indent=1))
    else:
        _show(shown, len(seen.cards))


def _show(shown: Overview, of: int) -> None:
    table = Table(
        "shard", "tier", "health", "would lose", "full backup", "log", "proved", "restore takes", "promised", box=None
    )
    for card in shown.cards:
        table.add_row(*_cells(card, shown.at))
    show = console().print
    show(table)
    for card in shown.cards:
        for warning in card.warnings:
            show(f"{card.shard}: {warning}", soft_wrap=True)
    counts = {health: sum(card.health == health for card in shown.cards) for health in _WORST_FIRST}
    told = ", ".join(f"{count} {health}" for health, count in counts.items() if count)
    show(f"{len(shown.cards)} of {of} shards: {told or 'none'}; looked at in {shown.seconds:.1f} s")


def _cells(card: Card, now: datetime) -> list[str]:
    lost = card.data_loss_seconds(now)
    return [
        card.shard, str(card.tier), card.health, "everything" if lost is None else duration(lost),
        _ago(card.snapshot_at, now), size(card.log_bytes), _ago(card.proved_at, now),
        duration(card.forecast.seconds) if card.forecast else "",
        duration(card.objective_seconds) if card.objective_seconds else "",
    ]  # fmt: skip


def _ago(time: datetime | None, now: datetime) -> str:
    return "never" if time is None else f"{duration(max(0.0, (now - time).total_seconds()))} ago"
