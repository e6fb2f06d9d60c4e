"""``relight guard``: may this data directory be touched? For people, and for scripts that would destroy it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from relight.cli.context import FAILED, readable_errors
from relight.cli.tables import console
from relight.errors import TargetError
from relight.gtid import GtidSet
from relight.guard.finding import Finding, grouped
from relight.guard.looking import Facts, facts_of, look

ArchivedOption = Annotated[
    str, typer.Option(help="The GTID set that is backed up. Without it every transaction in the logs refuses.")
]


def guard(
    named: Annotated[str, typer.Argument(metavar="DIR", help="The data directory.", show_default=False)],
    archived: ArchivedOption = "",
    quiet: Annotated[
        float, typer.Option(min=0, help="Refuse if a log was written in so many seconds; 0: any time.")
    ] = 300,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Look for signs of life in and around a data directory of this machine. Changes nothing.

    Ends with 0 if there are none, so that the directory may be touched; with 1 if there are, or if something could not
    be looked at; with 2 if it was not asked properly.
    """
    backed_up = gtid_set(archived)
    directory = _directory(named)
    with readable_errors():
        findings = look(directory, archived=backed_up, quiet=timedelta(seconds=quiet))
        facts = facts_of(directory)
    if as_json:
        print(json.dumps(_document(directory, findings, facts), indent=1, default=str))
    else:
        _show(directory, findings, facts)
    raise SystemExit(FAILED if findings else 0)


def _directory(named: str) -> Path:
    if not named:  # a script's variable that was never set; a path of it would be the current directory
        raise typer.BadParameter("DIR is empty")
    if os.path.exists(named) and not os.path.isdir(named):  # noqa: PTH110, PTH112 - these never raise
        raise typer.BadParameter(f"{named} is not a directory")
    return Path(named)


def gtid_set(text: str) -> GtidSet:
    """What ``--archived`` says. :raises typer.BadParameter: it is malformed."""
    try:
        return GtidSet.parse(text)
    except TargetError as error:
        raise typer.BadParameter(f"--archived: {error}") from None


def _document(directory: Path, findings: Iterable[Finding], facts: Facts) -> dict[str, object]:
    found = [dataclasses.asdict(finding) for finding in findings]
    about = dataclasses.asdict(dataclasses.replace(facts, mark=None))
    about["mark"] = facts.mark.model_dump() if facts.mark else None
    return {"directory": str(directory), "clear": not found, "findings": found, "facts": about}


def _show(directory: Path, findings: tuple[Finding, ...], facts: Facts) -> None:
    show = console().print
    for line in _facts(facts):
        show(line, soft_wrap=True)
    show(finding_table(findings))
    if findings:
        show(f"{directory}: REFUSED. Leave it alone.", soft_wrap=True)
    else:
        show(f"{directory}: clear", soft_wrap=True)


def finding_table(findings: Iterable[Finding]) -> Table:
    """What was found, by kind, on one screen."""
    table = Table(box=None, show_header=False)
    for kind, texts in grouped(findings).items():
        for number, text in enumerate(texts):
            table.add_row("" if number else kind, text)
    return table


def _facts(facts: Facts) -> list[str]:
    lines = [f"server UUID {facts.server_uuid}"] if facts.server_uuid else []
    if facts.settings:
        lines.append("persisted: " + ", ".join(f"{name}={value}" for name, value in sorted(facts.settings.items())))
    if facts.last_write:
        lines.append(f"last written: {facts.last_written}, {facts.last_write:%Y-%m-%dT%H:%M:%SZ}")
    if facts.mark:
        lines.append(f"built by run {facts.mark.run_id}, which left it {facts.mark.state}")
    return lines
