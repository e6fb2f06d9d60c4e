"""Step: decide from every check whether the rebuilt shard is right."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from relight.accounting import xa_of
from relight.errors import ValidationFailed
from relight.gtid import GtidSet
from relight.lane import lane_progress
from relight.lane.segments import lane_segment
from relight.lane.standalone import SERVER_LANE
from relight.planning.plan import Plan, load_plan, load_snapshot_manifest
from relight.run_files import (
    CheckResult,
    Judgement,
    Lanes,
    TableVerdict,
    Verdict,
    certificate_path,
    checks_path,
    judgement_path,
    load_checks,
    load_lanes,
    load_split,
    load_verdicts,
    split_folder,
    write_whole,
)
from relight.server import definitions
from relight.server.rebuilt import is_promoted_by
from relight.server.session import Session, connect
from relight.site import Run, Site
from relight.steps.stepping import step
from relight.verify.database import ROW_COUNTS
from relight.verify.definitions import compare_definitions
from relight.verify.log_images import changing_words

HISTORY, LANES, ACCOUNTS = "history", "lanes", "accounts"
_SERVER = "server"


@step("judge")
def judge(site: Site, run: Run) -> Judgement:
    """Decide from every verdict, every lane's position, the accounts and the GTID sets whether the shard is right.

    :raises ValidationFailed: with a table of what differs. The server stays closed.
    """
    folder = run.folder(site.fleet)
    if is_promoted_by(run.server(site.fleet).datadir, run.run_id):
        site.progress.say(f"{run.shard} was promoted by this run: the judgement from before stands")
        return Judgement.model_validate_json(judgement_path(folder).read_text(encoding="utf-8"))
    judgement_path(folder).unlink(missing_ok=True)  # an earlier one must not outlive this one's doubts
    certificate_path(folder).unlink(missing_ok=True)
    checks_path(folder, _SERVER).unlink(missing_ok=True)
    lanes, verdicts = load_lanes(folder), load_verdicts(folder)
    mine = _of_server(site, run, lanes)
    checks = [*load_checks(folder), *mine]
    write_whole(checks_path(folder, _SERVER), "\n".join(check.model_dump_json() for check in mine))
    unsure = tuple(_told("inconclusive", verdicts, checks))
    problems = list(_told("mismatch", verdicts, checks))
    if not run.approved_by:
        problems += [f"{text} (inconclusive)" for text in unsure]
    if problems:
        site.progress.say("\n".join(["what differs:", *(f"  {p}" for p in problems)]))
        raise ValidationFailed(
            f"{len(problems)} checks failed", on=run.shard, why="; ".join(problems[:10]),
            hint="the server stays closed. What is inconclusive a person can approve of (--approved-by, approved_by); "
            "a mismatch nobody can",
        )  # fmt: skip
    judgement = Judgement(
        verdict="inconclusive" if unsure else "match", tables=len(verdicts),
        rows=sum(v.counted or 0 for v in verdicts), inconclusive=unsure, gtids=lanes.end_gtids,
    )  # fmt: skip
    write_whole(judgement_path(folder), judgement.model_dump_json())
    site.progress.say(f"verdict: {judgement.verdict}, {judgement.tables} tables, {judgement.rows} rows")
    return judgement


def _told(verdict: Verdict, verdicts: Iterable[TableVerdict], checks: Iterable[CheckResult]) -> Iterable[str]:
    """Everything with this verdict, in words. Rows are told table by table."""
    for one in verdicts:
        if one.verdict == verdict:
            yield f"{one.database}.{one.table}: {one.reason} (expected {one.expected}, counted {one.counted})"
    for check in checks:
        if check.verdict == verdict and check.check != ROW_COUNTS:
            yield from (f"{check.check}: {finding}" for finding in check.findings)


def _of_server(site: Site, run: Run, lanes: Lanes) -> list[CheckResult]:
    """The checks that belong to no database."""
    plan = load_plan(site.store, run)
    with connect(run.server(site.fleet), site.admin) as session:
        return [
            _history(site, run, plan, lanes, session),
            _all_replayed(run, lanes, session),
            _accounts(site, run, plan, lanes, session),
        ]


def _history(site: Site, run: Run, plan: Plan, lanes: Lanes, session: Session) -> CheckResult:
    """The plan's transactions taken and no others, nothing executed besides."""
    began = time.monotonic()
    found = []
    if plan.end_gtids is not None and plan.end_gtids != lanes.end_gtids:
        found.append(f"missing {plan.end_gtids - lanes.end_gtids}, extra {lanes.end_gtids - plan.end_gtids}")
    executed = GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))
    uuid = str(session.value("SELECT @@server_uuid"))
    by_itself = executed - plan.snapshot.gtids
    folder = run.folder(site.fleet)
    # Replay logs what it does for XA transactions, and nothing else: each at most once.
    logged = sum(len(xa_of(load_split(folder, number).operations)) for number in range(lanes.segments))
    if by_itself and (set(by_itself.streams) != {uuid} or by_itself.count() > logged):
        found.append(f"the server executed {by_itself} by itself")
    if missing := plan.snapshot.gtids - executed:
        found.append(f"the server misses {missing} of its snapshot")
    return _result(HISTORY, run, lanes.end_gtids.count(), found, began)


def _all_replayed(run: Run, lanes: Lanes, session: Session) -> CheckResult:
    """Every lane is at its end."""
    began = time.monotonic()
    states = {state.lane: state for state in lane_progress.load_all(session)}
    found = []
    for lane in lanes.lanes:
        state = states.get(lane.name)
        if state is None or not state.finished:
            done = state.bytes_done if state else 0
            found.append(f"lane {lane.name}: {done} of {lane.bytes} bytes replayed")
    return _result(LANES, run, len(lanes.lanes), found, began)


def _accounts(site: Site, run: Run, plan: Plan, lanes: Lanes, session: Session) -> CheckResult:
    """Accounts, roles and grants are those of the snapshot, but for what the log has changed."""
    began = time.monotonic()
    snapshot = load_snapshot_manifest(site.store, plan.snapshot)
    expected = [one for one in snapshot.definitions if one.kind == "account"]
    if not expected:
        return _result(ACCOUNTS, run, 0, [], began, ["the snapshot was taken by a version that kept only tables"])
    folder = run.folder(site.fleet)
    together = next((lane.databases for lane in lanes.lanes if SERVER_LANE in lane.databases), ())
    words = changing_words(
        lane_segment(split_folder(folder, number), load_split(folder, number), together)
        for number in range(lanes.segments)
    )
    structure = compare_definitions(expected, definitions.of_accounts(session), words)
    return _result(ACCOUNTS, run, structure.compared, structure.findings, began, structure.notes)


def _result(
    check: str, run: Run, checked: int, findings: Sequence[str], began: float, notes: Sequence[str] = ()
) -> CheckResult:
    return CheckResult(
        check=check, verdict="mismatch" if findings else "match", on=run.shard, checked=checked,
        findings=tuple(findings), notes=tuple(notes), seconds=round(time.monotonic() - began, 3),
    )  # fmt: skip
