"""``relight bench``: measurements on this machine."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from relight.bench.fleet import FleetSize, run_fleet
from relight.bench.fleet_results import show_fleet
from relight.bench.foreseeing import run_foreseeing
from relight.bench.growth import run_memory, run_scale
from relight.bench.plot import plot
from relight.bench.replay import Size, run_bench
from relight.bench.results import Bench, load, save
from relight.bench.show import show_bench, show_foreseeing, show_memory, show_scale
from relight.bench.stage import LARGE, SMALL, Stage
from relight.bench.workloads import chosen
from relight.bench.workplace import workplace
from relight.cli.context import readable_errors
from relight.cli.tables import console
from relight.errors import LabError
from relight.lab.mysql import find_mysql
from relight.lab.place import Place
from relight.lab.services import find_services
from relight.lab.template import ensure_template

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Measure on this machine.")

QuickOption = Annotated[bool, typer.Option("--quick", help="A small fraction of the size, to see that it works.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
PlotOption = Annotated[Path | None, typer.Option("--plot", help="Also draw a chart into this SVG file.")]

_SCALE = (25_000, 100_000, 400_000)


@app.callback()
def bench() -> None:
    """Measure on this machine."""


@app.command()
def replay(
    workload: Annotated[list[str] | None, typer.Option(help="Only this one; may be given several times.")] = None,
    runs: Annotated[int | None, typer.Option(min=1, help="Runs of each method (3); medians are reported.")] = None,
    quick: QuickOption = False,
    as_json: JsonOption = False,
    save_to: Annotated[Path | None, typer.Option("--save", help="Keep the result in this file.")] = None,
    plot_to: PlotOption = None,
) -> None:
    """Compare mysqlbinlog | mysql, the server's own parallel applier, and Relight on the same logs."""
    with readable_errors():
        workloads = chosen(workload or ())
        size = Size(500, 400, runs or 1, quick=True) if quick else Size(50_000, 200_000, runs or 3)
        for path in filter(None, (save_to, plot_to)):
            _refuse_bad_place(path)
        with _stage(quick=quick) as stage:
            found = run_bench(stage, workloads, size)
        if save_to:
            save(found, save_to)
        _give(found, as_json=as_json, plot_to=plot_to)


@app.command()
def show(
    files: Annotated[list[Path], typer.Argument(help="Files that replay --save wrote.")],
    as_json: JsonOption = False,
    plot_to: PlotOption = None,
) -> None:
    """Show what was measured before; the workloads of several files in one table."""
    with readable_errors():
        _give(load(files), as_json=as_json, plot_to=plot_to)


@app.command()
def scale(quick: QuickOption = False, as_json: JsonOption = False) -> None:
    """Replay logs of 1, 4 and 16 times a length: seconds grow as the log does, memory does not."""
    with readable_errors():
        with _stage(quick=quick) as stage:
            counts = [count // 50 for count in _SCALE] if quick else _SCALE
            found = run_scale(stage, rows=500 if quick else 50_000, transactions=counts)
        if as_json:
            print(found.model_dump_json(indent=1))
        else:
            show_scale(console(), found)


@app.command()
def memory(
    gib: Annotated[float, typer.Option(min=0.001, help="Length of the log in GiB; needs four times that on disk.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Replay one long log of one database, and tell the most memory that it took."""
    with readable_errors():
        with _stage(quick=gib < 0.1) as stage:
            found = run_memory(stage, gib=gib)
        if as_json:
            print(found.model_dump_json(indent=1))
        else:
            show_memory(console(), found)


@app.command()
def forecast(
    shards: Annotated[int, typer.Option(min=1, help="How many shards the fleet has.")] = 10_000,
    segments: Annotated[int, typer.Option(min=2, help="How many log files each has behind its full backup.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """Plan and forecast the recovery of a large fleet, made up in memory: what `relight forecast` computes."""
    with readable_errors():
        found = run_foreseeing(shards=shards, segments=segments)
        if as_json:
            print(found.model_dump_json(indent=1))
        else:
            show_foreseeing(console(), found)


@app.command()
def fleet(
    shards: Annotated[int, typer.Option(min=1, max=10_000, help="So many shards.")] = 100,
    databases: Annotated[int, typer.Option(min=1, help="So many databases in each.")] = 3,
    at_once: Annotated[int, typer.Option(min=1, max=64, help="So many are restored at the same time.")] = 8,
    speedup: Annotated[float, typer.Option(min=0.1, help="Steps take so many times less than they would.")] = 60,
    postgres: Annotated[bool, typer.Option("--postgres", help="Airflow's database is PostgreSQL, not SQLite.")] = False,
    as_json: JsonOption = False,
    save_to: Annotated[Path | None, typer.Option("--save", help="Keep the result in this file.")] = None,
) -> None:
    """Restore a fleet that does not exist through a real Airflow, and tell what Airflow itself costs."""
    with readable_errors():
        if save_to:
            _refuse_bad_place(save_to)
        services = find_services(Place.find()) if postgres else None
        with workplace(Path(tempfile.gettempdir())) as folder:
            found = run_fleet(folder, FleetSize(shards, databases, at_once, speedup, services), _sayer())
        text = json.dumps(found.document(), indent=1)
        if save_to:
            save_to.write_text(text + "\n", encoding="utf-8")
        if as_json:
            print(text)
        else:
            show_fleet(console(), found)


@contextmanager
def _stage(*, quick: bool) -> Iterator[Stage]:
    place = Place.find()
    mysql = find_mysql(place)
    template = ensure_template(place.template, mysql)
    # On the lab's disk where that path is short: a Unix socket's is limited to 107 bytes.
    parent = place.root if len(str(place.root)) < 40 else Path(tempfile.gettempdir())
    with workplace(parent) as folder:
        yield Stage(folder, mysql, template, _sayer(), SMALL if quick else LARGE)


def _sayer() -> Callable[[str], None]:
    started = time.monotonic()

    def say(text: str) -> None:
        typer.echo(f"[{time.monotonic() - started:6.1f} s] {text}", err=True)

    return say


def _refuse_bad_place(path: Path) -> None:
    # Before hours of measuring, not behind them.
    if not path.parent.is_dir():
        raise LabError("the result could not be written", on=str(path), why="there is no such folder")


def _give(found: Bench, *, as_json: bool, plot_to: Path | None) -> None:
    if plot_to:
        try:
            plot_to.write_text(plot(found), encoding="utf-8")
        except OSError as error:
            raise LabError("the chart cannot be written", on=str(plot_to), why=str(error)) from None
    if as_json:
        print(found.model_dump_json(indent=1))
    else:
        show_bench(console(), found)
