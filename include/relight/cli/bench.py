"""``relight bench``: measurements on this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from relight.bench.replay import Bench, Size, run_bench
from relight.bench.workloads import WORKLOADS
from relight.cli.context import readable_errors
from relight.cli.tables import console
from relight.errors import LabError
from relight.lab.mysql import find_mysql
from relight.lab.place import Place
from relight.lab.template import ensure_template

app = typer.Typer(no_args_is_help=True, help="Measure on this machine.")


@app.callback()
def bench() -> None:
    """Measure on this machine."""


@app.command()
def replay(
    workload: Annotated[list[str] | None, typer.Option(help="Only this one; may be given several times.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each method; medians are reported.")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help="A hundredth of the size, one run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Compare mysqlbinlog | mysql, the server's own parallel applier, and Relight on the same logs."""
    with readable_errors():
        chosen = [w for w in WORKLOADS if not workload or w.name in workload]
        if unknown := set(workload or ()) - {w.name for w in WORKLOADS}:
            raise LabError(
                "unknown workload",
                on=", ".join(sorted(unknown)),
                hint="there are " + ", ".join(w.name for w in WORKLOADS),
            )
        place = Place.find()
        mysql = find_mysql(place)
        size = Size(rows=500, transactions=2_000, runs=1) if quick else Size(50_000, 200_000, runs)
        # A short path: a Unix socket's is limited to 107 bytes.
        with tempfile.TemporaryDirectory(prefix="relight-bench-", dir=_large_disk(place)) as folder:
            template = ensure_template(place.root / "template", mysql)
            found = run_bench(Path(folder), mysql, template, chosen, size, lambda text: typer.echo(text, err=True))
    if as_json:
        print(found.model_dump_json(indent=1))
    else:
        _show(found)


def _large_disk(place: Place) -> Path | None:
    return place.root if len(str(place.root)) < 40 else None


def _show(found: Bench) -> None:
    table = Table(
        "workload", "log MB", "mysqlbinlog | mysql", "parallel applier", "Relight ordered", "Relight as planned",
        "against pipe", "against applier", box=None,
    )  # fmt: skip
    for name, m in found.workloads.items():
        times = (f"{value:.1f} s" for value in (m.pipe_s, m.applier_s, m.ordered_s, m.planned_s))
        table.add_row(name, f"{m.log_bytes / 1e6:.0f}", *times, f"{m.ratio_pipe:.1f} x", f"{m.ratio_applier:.1f} x")
    console().print(table)
    console().print(f"medians of {found.runs}, checksums equal, {found.machine}")
