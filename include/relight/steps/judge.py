"""Step: decide from every check whether the rebuilt shard is right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from relight.checks import check_server, told
from relight.durable import write_whole
from relight.errors import ValidationFailed
from relight.run_files import (
    DATABASES_SHOWN,
    Checks,
    DatabaseVerdicts,
    Judgement,
    TableVerdict,
    certificate_path,
    checks_path,
    judgement_path,
    load_checks,
    load_judgement,
    load_lanes,
    load_verdicts,
)
from relight.server.rebuilt import is_beyond_proof
from relight.site import Run, Site
from relight.steps.stepping import step

_SERVER = "server"


@step("judge")
def judge(site: Site, run: Run) -> Judgement:
    """Decide from every verdict, every lane's position, the accounts and the GTID sets whether the shard is right.

    Something inconclusive does not fail the step: whether that may be promoted a person decides, with the list
    that is the result.

    :raises ValidationFailed: with a table of what differs. The server stays closed.
    """
    folder = run.folder(site.fleet)
    if is_beyond_proof(run.server(site.fleet).datadir, run.run_id):
        site.progress.say(f"{run.shard} is being promoted by this run, or was: the judgement from before stands")
        return load_judgement(folder)
    judgement_path(folder).unlink(missing_ok=True)  # an earlier one must not outlive this one's doubts
    certificate_path(folder).unlink(missing_ok=True)
    checks_path(folder, _SERVER).unlink(missing_ok=True)
    lanes, verdicts = load_lanes(folder), load_verdicts(folder)
    mine = check_server(site, run)
    checks = [*load_checks(folder), *mine]
    write_whole(checks_path(folder, _SERVER), Checks(checks=tuple(mine)).model_dump_json())
    problems = list(told("mismatch", verdicts, checks))
    if problems:
        site.progress.say("\n".join(["what differs:", *(f"  {p}" for p in problems)]))
        raise ValidationFailed(
            f"{len(problems)} checks failed", on=run.shard, why="; ".join(problems[:10]),
            hint="the server stays closed, and nobody can approve of a mismatch; the report lists everything",
        )  # fmt: skip
    unsure = tuple(told("inconclusive", verdicts, checks))
    judgement = Judgement(
        verdict="inconclusive" if unsure else "match", tables=len(verdicts),
        rows=sum(v.counted or 0 for v in verdicts), inconclusive=unsure, gtids=lanes.end_gtids,
        databases=by_database(verdicts),
    )  # fmt: skip
    write_whole(judgement_path(folder), judgement.model_dump_json())
    if unsure:
        site.progress.say("\n".join(["what is inconclusive:", *(f"  {text}" for text in unsure)]))
    site.progress.say(f"verdict: {judgement.verdict}, {judgement.tables} tables, {judgement.rows} rows")
    return judgement


def by_database(verdicts: Iterable[TableVerdict]) -> tuple[DatabaseVerdicts, ...]:
    """Pure: the verdicts in numbers, databases with doubts first, no more than a person reads."""
    counts: dict[str, Counter[str]] = {}
    for one in verdicts:
        counts.setdefault(one.database, Counter()).update({one.verdict: 1, "rows": one.counted or 0})
    made = [DatabaseVerdicts(database=name, **count) for name, count in counts.items()]
    return tuple(sorted(made, key=lambda one: (-one.mismatch, -one.inconclusive, one.database))[:DATABASES_SHOWN])
