"""Step: the record of a run, as JSON for programs and as one page for people."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import jinja2

from relight.backups.manifest import Value
from relight.errors import RelightError
from relight.planning.plan import Plan, load_plan
from relight.run_files import (
    CheckResult,
    TableVerdict,
    judgement_path,
    lanes_path,
    load_checks,
    load_lanes,
    load_verdicts,
)
from relight.site import Run, Site
from relight.steps.stepping import StepRecord, load_records, step


class Report(Value):
    """Everything about a run that a person or a later rehearsal wants to know. Times in seconds."""

    version: Literal[1] = 1
    run: Run
    outcome: Literal["done", "failed"]
    problems: tuple[str, ...]
    written_at: datetime
    seconds: float
    plan: Plan | None
    reaches: datetime | None
    data_loss_window_s: float | None
    """From the last transaction that was brought back to the moment the plan was made: what was
    written in between is lost."""
    transactions: int
    log_bytes: int
    tables: tuple[TableVerdict, ...]
    checks: tuple[CheckResult, ...] = ()
    certificate: str = ""
    """Its key in the store; empty where the run got none."""
    steps: tuple[StepRecord, ...]

    def checks_in_sum(self) -> list[CheckResult]:
        """One per kind of check: databases are put together, the worst verdict counts."""
        kinds = list(dict.fromkeys(check.check for check in self.checks))
        return [_in_sum([check for check in self.checks if check.check == kind]) for kind in kinds]

    def seconds_of(self, *names: str) -> float:
        """From the first beginning to the last end of these steps; 0 where there was none."""
        mine = [record for record in self.steps if record.step in names]
        if not mine:
            return 0.0
        return (max(r.ended for r in mine) - min(r.started for r in mine)).total_seconds()

    def totals_per_step(self) -> list[tuple[str, int, float, float]]:
        """Step, number of attempts, seconds from its first beginning to its last end, seconds of work."""
        names = list(dict.fromkeys(record.step for record in self.steps))
        mine = {name: [record for record in self.steps if record.step == name] for name in names}
        return [
            (
                name, len(records), (max(r.ended for r in records) - min(r.started for r in records)).total_seconds(),
                sum(r.seconds for r in records),
            )
            for name, records in mine.items()
        ]  # fmt: skip


def _in_sum(checks: list[CheckResult]) -> CheckResult:
    order = ("mismatch", "inconclusive", "match")
    return CheckResult(
        check=checks[0].check, verdict=min((c.verdict for c in checks), key=order.index),
        on=", ".join(c.on for c in checks), checked=sum(c.checked for c in checks),
        findings=tuple(f for c in checks for f in c.findings), notes=tuple(n for c in checks for n in c.notes),
        seconds=round(sum(c.seconds for c in checks), 3),
    )  # fmt: skip


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
    name = f"report-{report.written_at:%Y%m%dT%H%M%SZ}"
    page = render_page(report)
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


def make_report(site: Site, run: Run) -> Report:
    """Gather the records of every step, the plan and the verdicts, as far as the run got."""
    records = load_records(site.store, run)
    folder = run.folder(site.fleet)
    plan = load_plan(site.store, run) if any(r.step == "plan" and r.outcome == "done" for r in records) else None
    lanes = load_lanes(folder) if lanes_path(folder).exists() else None
    tables: list[TableVerdict] = []
    if lanes is not None and any(r.step == "validate" and r.outcome == "done" for r in records):
        try:
            tables = load_verdicts(folder)
        except RelightError as error:
            site.progress.say(f"the report has no row table: {error}")
    problems = _unresolved(records)
    if plan is not None and not judgement_path(folder).exists() and not problems:
        problems = ("the run ended before its data were judged",)
    now = datetime.now(UTC)
    started = records[0].started if records else now
    ended = records[-1].ended if records else now
    return Report(
        run=run, outcome="failed" if problems or plan is None else "done", problems=problems, written_at=now,
        seconds=round((ended - started).total_seconds(), 3), plan=plan, reaches=plan.reaches if plan else None,
        data_loss_window_s=round((plan.made_at - plan.reaches).total_seconds(), 3) if plan else None,
        transactions=lanes.transactions if lanes else 0, log_bytes=lanes.log_bytes if lanes else 0,
        tables=tuple(tables), checks=tuple(load_checks(folder)) if tables else (), certificate=_certificate(records),
        steps=tuple(records),
    )  # fmt: skip


def _certificate(records: list[StepRecord]) -> str:
    """The last one that was signed."""
    found = [str(r.summary["key"]) for r in records if r.step == "certify" and r.outcome == "done"]
    return found[-1] if found else ""


def _unresolved(records: list[StepRecord]) -> tuple[str, ...]:
    """Failures that no later attempt at the same step has put right."""
    last: dict[tuple[str, str], StepRecord] = {(r.step, r.key): r for r in records}
    return tuple(f"{f'{r.step} {r.key}'.strip()}: {r.error}" for r in last.values() if r.outcome == "failed")


def render_page(report: Report) -> str:
    """One self-contained HTML page: outcome, timeline, rows per table."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parents[1] / "templates"), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    return environment.get_template("report.html.j2").render(
        report=report,
        totals=report.totals_per_step(),
        bars=_bars(report.steps),
        checks=report.checks_in_sum(),
        restoring=report.seconds_of("plan", "guard", "restore", "lanes", "split", "replay"),
        proving=report.seconds_of("validate", "judge"),
    )


class _Bar(Value):
    """One attempt in the timeline; positions in percent of the whole run."""

    label: str
    left: float
    width: float
    seconds: float
    failed: bool


def _bars(steps: tuple[StepRecord, ...]) -> list[_Bar]:
    if not steps:
        return []
    start = min(s.started for s in steps)
    whole = max((max(s.ended for s in steps) - start).total_seconds(), 0.001)
    return [
        _Bar(
            label=f"{s.step} {s.summary.get('label', s.key)}".strip(),
            left=round(100 * (s.started - start).total_seconds() / whole, 3),
            width=round(max(100 * s.seconds / whole, 0.15), 3),
            seconds=round(s.seconds, 2),
            failed=s.outcome == "failed",
        )
        for s in steps
    ]  # fmt: skip
