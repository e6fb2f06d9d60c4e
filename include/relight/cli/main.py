"""The ``relight`` command."""

from __future__ import annotations

import typer

from relight.cli import (
    abandoning,
    backup,
    bench,
    certificate,
    demo,
    fence,
    forecast,
    guard,
    lab,
    planning,
    quarantine,
    rehearsals,
    restoring,
    timeline,
    via_airflow,
)
from relight.cli import fleet as fleet_view

app = typer.Typer(
    name="relight", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Brings a lost MySQL fleet back: restore in parallel, prove, then promote.",
)  # fmt: skip
app.add_typer(backup.app, name="backup")
app.add_typer(bench.app, name="bench")
app.add_typer(certificate.app, name="certificate")
app.add_typer(fence.app, name="fence")
app.add_typer(lab.app, name="lab")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(timeline.app, name="timeline")
lab.app.command("demo")(demo.demo)
app.command("restore")(restoring.restore)
app.command("abandon")(abandoning.abandon)
app.command("validate")(restoring.validate)
app.command("guard")(guard.guard)
app.command("fleet")(fleet_view.fleet_)
app.command("catalog")(planning.catalog)
app.command("plan")(planning.plan)
app.command("forecast")(forecast.forecast)
app.command("rehearse")(rehearsals.rehearse)
app.command("rehearsals")(rehearsals.rehearsals)
app.command("status")(via_airflow.status)


def main() -> None:
    """The entry point."""
    app()
