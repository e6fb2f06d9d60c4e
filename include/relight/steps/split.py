"""Step: fetch one segment and split it by database. Lanes that need it earlier do it themselves."""

from __future__ import annotations

from relight.backups.manifest import Value
from relight.planning.plan import load_plan
from relight.site import Run, Site
from relight.splitting import split_of
from relight.steps.stepping import step


class SplitSummary(Value):
    """What the reader of the log needs to know."""

    number: int
    file: str
    transactions: int
    log_bytes: int
    databases: int
    seconds: float


@step("split")
def split_segment(site: Site, run: Run, number: int) -> SplitSummary:
    """Fetch and split segment ``number`` of the plan. Run again, it finds its work done.

    :raises ObjectCorrupt: the segment is not what was stored. BinlogError: it cannot be read.
    """
    plan = load_plan(site.store, run)
    result = split_of(site, run, plan, number)
    return SplitSummary(
        number=number, file=plan.segments[number].segment.file, transactions=result.transactions,
        log_bytes=result.log_bytes, databases=len(result.streams), seconds=result.seconds,
    )  # fmt: skip
