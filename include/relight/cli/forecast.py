"""``relight forecast``: how long each shard would take, and when the whole fleet would be back. Nothing is changed."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from relight.backups.catalog import load_catalog
from relight.backups.manifest import Value
from relight.cli.context import open_site, readable_errors
from relight.cli.tables import console
from relight.errors import FleetError, LabError, PlanError, RelightError, StoreDenied, StoreUnavailable, command_line
from relight.fleet import Shard
from relight.forecast.estimate import estimate_all
from relight.forecast.learning import Speeds, learn
from relight.forecast.loads import databases_of, load_of_plan
from relight.forecast.plot import plot
from relight.forecast.simulate import Back, Recovery, simulate_forecasts
from relight.forecast.values import Forecast, Load, Span
from relight.forecast.words import duration
from relight.incident.asking import down_among
from relight.planning.resolve import make_plan
from relight.planning.target import Target
from relight.reporting.words import size
from relight.site import Site
from relight.store.parallel import in_parallel

_AT_ONCE = 8
"""So many shards are looked at at the same time."""

Objective = Literal["kept", "at risk", "missed", "none"]


class ShardForecast(Value):
    """One shard, as JSON tells it."""

    load: Load
    forecast: Forecast
    back: Back
    objective_seconds: float | None
    objective: Objective
    """``kept``: also at the slow end of the range. ``at risk``: only if it goes no worse than is likely."""


class Unplanned(Value):
    """A shard that cannot be brought back as things are, and why."""

    shard: str
    why: str


class Foreseen(Value):
    """Everything that the command tells."""

    learned_from: int
    unreadable: tuple[str, ...]
    shards: tuple[ShardForecast, ...]
    unplanned: tuple[Unplanned, ...]
    recovery: Recovery


FleetOption = Annotated[
    Path | None, typer.Option("--fleet", help="The fleet file. Default: RELIGHT_FLEET, else the lab.")
]


def forecast(
    shards: Annotated[str, typer.Option(help="Names or patterns, joined by commas: shard-1,eu-*")] = "*",
    workers: Annotated[
        int, typer.Option(min=1, help="Tasks at the same time; Airflow's own default (core.parallelism) is 32.")
    ] = 32,
    down: Annotated[bool, typer.Option("--down/--all", help="Only shards of which no server answers.")] = False,
    fleet: FleetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
    plot_to: Annotated[
        Path | None, typer.Option("--plot", help="Also draw into this SVG file when how many shards are back.")
    ] = None,
) -> None:
    """Foresee how long a restore of each shard takes, and when the fleet would be back. Nothing is changed."""
    with readable_errors(), open_site(fleet) as site:
        _refuse_bad_place(plot_to)
        wanted = _chosen(site, shards, down=down)
        loads, unplanned = _loads(site, wanted)
        speeds = learn(site.store, parallel=site.fleet.store.parallel)
        found = _foreseen(site, loads, unplanned, speeds, workers)
        if plot_to:
            _draw(found, plot_to)
    if as_json:
        print(found.model_dump_json(indent=1))
    else:
        _show(found)


def _chosen(site: Site, patterns: str, *, down: bool) -> list[Shard]:
    """In the order of the fleet file. :raises FleetError: a pattern fits none, or none of them is down."""
    asked = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
    names = [shard.name for shard in site.fleet.shards]
    for pattern in asked:
        if not fnmatch.filter(names, pattern):
            site.fleet.shard(pattern)  # says which ones there are
    found = [shard for shard in site.fleet.shards if any(fnmatch.fnmatchcase(shard.name, p) for p in asked)]
    if down:
        found = down_among(found)
    if not found:
        raise FleetError(
            "no shard is left to look at", on=patterns, why="a server of each answers" if down else "no name was given",
            hint="leave --down out to look at shards that are up, too" if down else "leave --shards out for all",
        )  # fmt: skip
    return found


def _loads(site: Site, shards: Sequence[Shard]) -> tuple[list[Load], list[Unplanned]]:
    """What each shard has to move to be brought back to its newest state, from the plan that a restore would make.

    :raises PlanError: not one of them can be.
    """
    site.progress.start("shards read", len(shards))

    def load(shard: Shard) -> Load | Unplanned:
        try:
            catalog = load_catalog(site.store, shard.name, parallel=site.fleet.store.parallel)
            made = make_plan(catalog, Target(kind="latest"), datetime.now(UTC), reserve=site.fleet.limits.disk_reserve)
            first = site.fleet.promotion.replicas_first
            return load_of_plan(made, databases_of(catalog, made), shard, replicas_first=first)
        except (StoreUnavailable, StoreDenied):
            raise
        except RelightError as error:
            return Unplanned(shard=shard.name, why=error.with_hint())
        finally:
            site.progress.advance("shards read", 1)

    found = in_parallel(load, shards, _AT_ONCE)
    unplanned = [one for one in found if isinstance(one, Unplanned)]
    loads = [one for one in found if isinstance(one, Load)]
    if not loads:
        raise PlanError(
            "none of the shards can be brought back as things are", on=unplanned[0].shard, why=unplanned[0].why,
            hint=f"more is said by: {command_line('plan', unplanned[0].shard)}",
        )  # fmt: skip
    return loads, unplanned


def _foreseen(
    site: Site, loads: list[Load], unplanned: list[Unplanned], speeds: Speeds, workers: int
) -> Foreseen:  # fmt: skip
    forecasts = estimate_all(loads, speeds)
    recovery = simulate_forecasts(loads, forecasts, site.fleet.limits, workers)
    by_name = {load.shard: (load, one) for load, one in zip(loads, forecasts, strict=True)}
    promised = {shard.name: site.fleet.tier_of(shard).objective_minutes for shard in site.fleet.shards}
    shards = []
    for back in recovery.shards:
        load, one = by_name[back.shard]
        minutes = promised[back.shard]
        seconds = None if minutes is None else 60 * minutes
        shards.append(ShardForecast(
            load=load, forecast=one, back=back, objective_seconds=seconds, objective=_objective(back.back, seconds)
        ))  # fmt: skip
    return Foreseen(
        learned_from=speeds.runs, unreadable=speeds.unreadable, shards=tuple(shards), unplanned=tuple(unplanned),
        recovery=recovery,
    )  # fmt: skip


def _objective(back: Span, seconds: float | None) -> Objective:
    if seconds is None:
        return "none"
    if back.high <= seconds:
        return "kept"
    return "at risk" if back.seconds <= seconds else "missed"


def _refuse_bad_place(path: Path | None) -> None:
    if path is not None and not path.parent.is_dir():
        raise LabError("the chart cannot be written", on=str(path), why="there is no such folder")


def _draw(found: Foreseen, path: Path) -> None:
    try:
        path.write_text(plot(found.recovery), encoding="utf-8")
    except OSError as error:
        raise LabError("the chart cannot be written", on=str(path), why=str(error)) from None


def _show(found: Foreseen) -> None:
    show = console().print
    table = Table("shard", "tier", "data", "log", "alone", "range", "back after", "range", "objective", box=None)
    for one in found.shards:
        alone, back = one.forecast.total, one.back.back
        promised = "" if one.objective_seconds is None else f"{duration(one.objective_seconds)}: {one.objective}"
        table.add_row(
            one.load.shard, str(one.load.tier), size(one.load.data_bytes), size(one.load.log_bytes),
            duration(alone.seconds), _range(alone), duration(back.seconds), _range(back), promised,
        )  # fmt: skip
    show(table)
    for unplanned in found.unplanned:
        show(f"{unplanned.shard} cannot be brought back: {unplanned.why}", soft_wrap=True)
    for line in _summary(found):
        show(line, soft_wrap=True)


def _summary(found: Foreseen) -> list[str]:
    recovery = found.recovery
    names = {"first": recovery.first, "half": recovery.half, "90 %": recovery.ninety, "last": recovery.last}
    told = ", ".join(f"{name} {duration(span.seconds)} ({_range(span)})" for name, span in names.items())
    lines = [
        f"back with {recovery.workers} workers: {told}; replicas {duration(recovery.whole)}",
        f"bottleneck: {recovery.bottleneck.why}",
        f"half the time: {recovery.halving.why}",
        f"speeds: learned from {found.learned_from} runs" if found.learned_from
        else "speeds: nothing was measured yet, so cautious ones are assumed; a rehearsal of any shard measures them",
    ]  # fmt: skip
    if found.unreadable:
        lines.append(f"{len(found.unreadable)} records of runs cannot be read: {', '.join(found.unreadable[:3])}")
    return lines


def _range(span: Span) -> str:
    return f"{duration(span.low)} to {duration(span.high)}"
