"""``relight lab demo``: the whole path in one command."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from relight.cli.context import open_site_with, readable_errors
from relight.cli.tables import console, verdict_table
from relight.errors import command_line
from relight.lab.demo import DemoResult, run_demo
from relight.lab.place import Place
from relight.progress import on_terminal
from relight.reporting.words import size


def demo() -> None:
    """Lose a shard and bring it back: real MySQL servers, a real object store, a real Airflow."""
    with readable_errors():
        with on_terminal(Console(stderr=True)) as progress:
            result = run_demo(Place.find(), lambda: open_site_with(progress), progress)
        show(result, console())


def show(result: DemoResult, out: Console) -> None:
    """The summary of a demo."""
    report = result.report
    steps = Table("step", "attempts", "elapsed s", title="Time per step", title_justify="left")
    for name, count, elapsed, _ in report.totals_per_step():
        steps.add_row(name, str(count), f"{elapsed:.2f}")
    for table in (steps, verdict_table(report.tables)):
        out.print(table)
    plan = report.plan
    out.print(f"restored            {report.run.shard} in {result.seconds_to_restore:.1f} s, its replicas included")
    if plan is not None:
        out.print(f"bytes               {size(plan.download_bytes)} fetched, {size(plan.snapshot.data_bytes)} of data")
    out.print(f"log replayed        {report.transactions:,} transactions, {size(report.log_bytes)}")
    out.print(f"ledger              {result.ledger}")
    out.print(
        f"data-loss window    {report.data_loss_window_s:.1f} s: "
        f"{result.lost_commits:,} commits after the last shipped log"
    )
    out.print(f"certificate         {result.certificate}: valid until {result.certificate_expires:%Y-%m-%d %H:%M} UTC")
    out.print(f"                    {command_line('certificate', 'verify', result.certificate)}")
    out.print(f"report              {result.report_page}")
    out.print(f"its page            {result.page}")
    out.print(f"the fleet           {result.url}/relight/fleet")
    out.print(f"this run in the UI  {result.run_page}")
    out.print(f"Airflow             {result.url}  user {result.login[0]}, password {result.login[1]}")
    out.print("Everything stays up to be looked at; `make down` stops it.")
