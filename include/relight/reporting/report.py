"""Everything about a run, gathered from what its steps have left."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from relight.backups.manifest import Value
from relight.errors import RelightError
from relight.fleet import Fleet
from relight.forecast.loads import load_of_plan
from relight.forecast.timing import Timing, timing_of
from relight.planning.plan import Plan, load_plan
from relight.rehearsal.history import RehearsalRecord
from relight.run_files import (
    CheckResult,
    Lanes,
    TableVerdict,
    judgement_path,
    lanes_path,
    load_checks,
    load_lanes,
    load_verdicts,
)
from relight.sabotage import SABOTAGES, Sabotage
from relight.site import Run, Site
from relight.step_records import PROVING, RESTORING, StepRecord, elapsed, last_done, load_records


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
    broken: str = ""
    """What a rehearsal has broken on purpose after the proof, in words; empty where it was nothing."""
    caught_by: tuple[str, ...] = ()
    """The checks that found it."""
    steps: tuple[StepRecord, ...]

    def checks_in_sum(self) -> list[CheckResult]:
        """One per kind of check: databases are put together, the worst verdict counts."""
        kinds = list(dict.fromkeys(check.check for check in self.checks))
        return [_in_sum([check for check in self.checks if check.check == kind]) for kind in kinds]

    def hints(self) -> dict[str, str]:
        """What to do about each problem, where that is known."""
        return {_problem(record): record.hint for record in self.steps if record.outcome == "failed" and record.hint}

    def totals_per_step(self) -> list[tuple[str, int, float, float]]:
        """Step, number of attempts, seconds from its first beginning to its last end, seconds of work."""
        names = list(dict.fromkeys(record.step for record in self.steps))
        mine = {name: [record for record in self.steps if record.step == name] for name in names}
        return [
            (name, len(records), elapsed(records, {name}), sum(r.seconds for r in records))
            for name, records in mine.items()
        ]


def _in_sum(checks: list[CheckResult]) -> CheckResult:
    order = ("mismatch", "inconclusive", "match")
    return CheckResult(
        check=checks[0].check, verdict=min((c.verdict for c in checks), key=order.index),
        on=", ".join(c.on for c in checks), checked=sum(c.checked for c in checks),
        findings=tuple(f for c in checks for f in c.findings), notes=tuple(n for c in checks for n in c.notes),
        seconds=round(sum(c.seconds for c in checks), 3),
    )  # fmt: skip


def make_report(site: Site, run: Run) -> Report:
    """Gather the records of every step, the plan and the verdicts, as far as the run got."""
    records = load_records(site.store, run, site.progress.say)
    folder = run.folder(site.fleet)
    plan = load_plan(site.store, run) if any(r.step == "plan" and r.outcome == "done" for r in records) else None
    lanes = _lanes(site, folder)
    tables: list[TableVerdict] = []
    checks: list[CheckResult] = []
    if lanes is not None and any(r.step == "validate" and r.outcome == "done" for r in records):
        try:
            tables, checks = load_verdicts(folder), load_checks(folder)
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
        tables=tuple(tables), checks=tuple(checks) if tables else (),
        certificate=str(_told(records, "certify", "key", "")), broken=str(_told(records, "drill", "what", "")),
        caught_by=tuple(map(str, _told(records, "drill", "caught_by", []))), steps=tuple(records),
    )  # fmt: skip


def _lanes(site: Site, folder: Path) -> Lanes | None:
    try:
        return load_lanes(folder) if lanes_path(folder).exists() else None
    except RelightError as error:
        site.progress.say(f"the report does not say what was replayed: {error}")
        return None


def _told(records: list[StepRecord], step: str, name: str, otherwise: Any) -> Any:
    """What the last attempt at a step that succeeded says."""
    last = last_done(records, step)
    found = last.summary.get(name, otherwise) if last else otherwise
    return found if isinstance(found, type(otherwise)) else otherwise


def _unresolved(records: list[StepRecord]) -> tuple[str, ...]:
    """Failures that no later attempt at the same step has put right. That a report could not be written before is put
    right by the one that is being written."""
    last: dict[tuple[str, str], StepRecord] = {(r.step, r.key): r for r in records if r.step != "report"}
    return tuple(_problem(record) for record in last.values() if record.outcome == "failed")


def _problem(record: StepRecord) -> str:
    return f"{f'{record.step} {record.key}'.strip()}: {record.error}"


def run_timing(report: Report, fleet: Fleet) -> Timing | None:
    """Pure: what forecasts learn from the run; None where nothing was proved, since such a run has no speed."""
    if report.plan is None or not report.certificate:
        return None
    run = report.run
    databases = len({table.database for table in report.tables})
    load = load_of_plan(
        report.plan, databases, run.shard_of(fleet), onto=run.server(fleet),
        replicas_first=fleet.promotion.replicas_first,
    )  # fmt: skip
    return timing_of(run, load, len(report.tables), report.steps, report.written_at)


def _sabotage(drilled: StepRecord | None) -> Sabotage | None:
    said = drilled.summary.get("sabotage") if drilled else None
    return next((one for one in SABOTAGES if one == said), None)


def rehearsal_record(report: Report) -> RehearsalRecord:
    """Pure: a rehearsal in short."""
    verdicts = {*(one.verdict for one in report.tables), *(one.verdict for one in report.checks)}
    plan, drilled = report.plan, last_done(report.steps, "drill")
    return RehearsalRecord(
        shard=report.run.shard, run_id=report.run.run_id, target=str(report.run.target),
        began=report.steps[0].started if report.steps else report.written_at, ended=report.written_at,
        outcome=report.outcome, problem=report.problems[0] if report.problems else "", certificate=report.certificate,
        verdict=("inconclusive" if "inconclusive" in verdicts else "match") if report.certificate else None,
        reaches=report.reaches, data_loss_window_s=report.data_loss_window_s, tables=len(report.tables),
        rows=sum(one.counted or 0 for one in report.tables), data_bytes=plan.snapshot.data_bytes if plan else 0,
        log_bytes=report.log_bytes, restore_seconds=elapsed(report.steps, RESTORING),
        verification_seconds=elapsed(report.steps, PROVING), sabotage=_sabotage(drilled),
        caught_by=report.caught_by,
    )  # fmt: skip
