"""``relight fleet``: every shard on one screen, the worst first."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from relight.cli.context import open_site, readable_errors
from relight.cli.tables import console
from relight.errors import FleetError
from relight.forecast.words import duration
from relight.overview.card import Card, Overview
from relight.overview.health import WORDS, State, meant, urgency
from relight.overview.keeping import newest
from relight.overview.looking import look_over, look_over_and_ask
from relight.reporting.words import size

FleetOption = Annotated[
    Path | None, typer.Option("--fleet", help="The fleet file. Default: RELIGHT_FLEET, else the lab.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
_STATES = ", ".join(word.replace(" ", "-") for state, word in WORDS.items() if state != "restoring")


def fleet_(
    match: Annotated[str, typer.Option(help="Only shards whose name matches, as in 'shop-*'.")] = "*",
    tier: Annotated[int | None, typer.Option(min=1, max=9, help="Only shards of this tier.")] = None,
    health: Annotated[str, typer.Option(help=f"Only shards of this health: {_STATES}.")] = "",
    ask: Annotated[
        bool, typer.Option("--ask/--no-ask", help="Ask the servers: a shard of which none answers is down.")
    ] = True,
    fleet: FleetOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Look at every shard: how far it is backed up, what is proved of it, how long a restore would take."""
    with readable_errors():
        state = _state(health)
        with open_site(fleet) as site:
            look = look_over_and_ask if ask else look_over
            seen = look(site, newest(site.store, datetime.now(UTC)))
    chosen = [
        card for card in seen.cards
        if fnmatchcase(card.shard, match) and tier in (None, card.tier) and state in (None, card.state)
    ]  # fmt: skip
    chosen.sort(key=lambda card: (urgency(card.state), card.tier, card.shard))
    shown = seen.model_copy(update={"cards": tuple(chosen)})
    if as_json:
        print(shown.model_dump_json(indent=1))
    else:
        _show(shown, len(seen.cards))


def _state(text: str) -> State | None:
    found = meant(text)
    if text and found is None:
        raise FleetError("unknown health", on=text, hint=f"use one of {_STATES}")
    return found


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
    counts = Counter(card.state for card in shown.cards)
    told = ", ".join(f"{counts[state]} {word}" for state, word in WORDS.items() if counts[state])
    show(f"{len(shown.cards)} of {of} shards: {told or 'none'}; looked at in {shown.seconds:.1f} s")


def _cells(card: Card, now: datetime) -> list[str]:
    lost = card.data_loss_seconds(now)
    return [
        card.shard, str(card.tier), WORDS[card.state], "everything" if lost is None else duration(lost),
        _ago(card.snapshot_at, now), size(card.log_bytes), _ago(card.proved_at, now),
        duration(card.forecast.seconds) if card.forecast else "",
        duration(card.objective_seconds) if card.objective_seconds else "",
    ]  # fmt: skip


def _ago(time: datetime | None, now: datetime) -> str:
    return "never" if time is None else f"{duration(max(0.0, (now - time).total_seconds()))} ago"
