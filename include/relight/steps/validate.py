"""Step: prove the rebuilt data of a database against snapshot and log, before anyone is let in."""

from __future__ import annotations

from relight.backups.manifest import Value
from relight.checks import check_database
from relight.durable import write_whole
from relight.run_files import Checks, TableVerdict, Verdicts, checks_path, load_lanes, load_verdicts, verdict_path
from relight.server.rebuilt import is_beyond_proof
from relight.site import Run, Site
from relight.steps.stepping import step


class DatabaseVerdict(Value):
    """All tables of one database. The tables themselves lie in the run's folder."""

    database: str
    matches: int
    mismatches: tuple[TableVerdict, ...]
    inconclusive: tuple[TableVerdict, ...]
    rows: int


@step("validate")
def validate_database(site: Site, run: Run, database: str) -> DatabaseVerdict:
    """Prove everything that can be proved of a database: counts, contents, definitions, integrity.

    Does not raise on a mismatch: every database is looked at before :func:`judge` decides.
    """
    folder = run.folder(site.fleet)
    if is_beyond_proof(run.server(site.fleet).datadir, run.run_id):
        site.progress.say(f"{run.shard} is being promoted by this run, or was: the verdicts from before stand")
        return _summary(site, database, [v for v in load_verdicts(folder) if v.database == database])
    verdicts, checks = check_database(site, run, database)
    path = verdict_path(folder, load_lanes(folder), database)
    write_whole(checks_path(folder, path.stem), Checks(checks=tuple(checks)).model_dump_json())
    write_whole(path, Verdicts(tables=tuple(verdicts)).model_dump_json())
    for check in checks:
        site.progress.say(f"{database}: {check.check}: {check.verdict} ({check.checked} in {check.seconds:.1f} s)")
    return _summary(site, database, verdicts)


def _summary(site: Site, database: str, verdicts: list[TableVerdict]) -> DatabaseVerdict:
    bad = tuple(v for v in verdicts if v.verdict == "mismatch")
    site.progress.say(f"validated {database}: {len(verdicts)} tables, {len(bad)} differ")
    return DatabaseVerdict(
        database=database, matches=sum(v.verdict == "match" for v in verdicts), mismatches=bad[:20],
        inconclusive=tuple(v for v in verdicts if v.verdict == "inconclusive")[:20],
        rows=sum(v.counted or 0 for v in verdicts),
    )  # fmt: skip
