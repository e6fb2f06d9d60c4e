"""Step: the record of a run, as JSON for programs and as one page for people."""

from __future__ import annotations

from relight.backups.manifest import Value
from relight.forecast.timing import keep_timing
from relight.rehearsal.history import ShardHistory, keep, load_history
from relight.reporting.page import render_page
from relight.reporting.report import make_report, rehearsal_record, run_timing
from relight.site import Run, Site
from relight.steps.stepping import step


class ReportSummary(Value):
    """Where the report is."""

    outcome: str
    seconds: float
    data_loss_window_s: float | None
    tables: int
    rows: int
    key: str
    """The JSON object in the store; the page lies beside it as ``.html``."""
    page: str
    """The page on the rebuilt server's machine."""


@step("report")
def write_report(site: Site, run: Run) -> ReportSummary:
    """Write the report of what has happened so far, also when a step has failed."""
    report = make_report(site, run)
    name = f"report-{report.written_at:%Y%m%dT%H%M%S%fZ}"
    fleet: list[ShardHistory] = []
    if run.mode == "rehearse":
        keep(site.store, rehearsal_record(report))
        fleet = load_history(site.store, site.fleet)
    if timing := run_timing(report, site.fleet):
        keep_timing(site.store, timing)
    page = render_page(report, fleet)
    site.store.put(f"{run.folder_key}/{name}.json", report.model_dump_json(indent=1).encode("utf-8"))
    site.store.put(f"{run.folder_key}/{name}.html", page.encode("utf-8"))
    folder = run.folder(site.fleet)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.html").write_text(page, encoding="utf-8")
    site.progress.say(f"report: {folder / name}.html")
    return ReportSummary(
        outcome=report.outcome, seconds=report.seconds, data_loss_window_s=report.data_loss_window_s,
        tables=len(report.tables), rows=sum(t.counted or 0 for t in report.tables),
        key=f"{run.folder_key}/{name}.json", page=str(folder / f"{name}.html"),
    )  # fmt: skip
