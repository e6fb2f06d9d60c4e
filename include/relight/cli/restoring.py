"""``relight restore`` and ``relight validate``: bring a shard back, prove one again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from relight.airflow_api.orders import Order
from relight.certificate.approval import PLACEHOLDERS
from relight.cli import via_airflow
from relight.cli.context import open_site, readable_errors
from relight.cli.planning import TIMELINE
from relight.cli.tables import console, verdict_table
from relight.gtid import GtidSet
from relight.incident.naming import fresh_name, incident_id
from relight.planning.target import FORMS, Target
from relight.run_files import load_lanes, load_verdicts
from relight.site import Run

FleetOption = Annotated[
    Path | None, typer.Option("--fleet", help="The fleet file. Default: RELIGHT_FLEET, else the lab.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def restore(
    shards: Annotated[list[str], typer.Argument(help="The shard to bring back; with --via-airflow also several.")],
    target: Annotated[str, typer.Option(help=FORMS)] = "latest",
    mode: Annotated[
        Literal["promote", "rehearse"],
        typer.Option(help="rehearse restores onto the scratch server and never promotes"),
    ] = "promote",
    run_id: Annotated[str | None, typer.Option(help="Go on with an earlier run of this id.")] = None,
    skip_gtid: Annotated[
        list[str] | None, typer.Option(help="Leave this transaction out, if nothing builds on it. May be repeated.")
    ] = None,
    timeline: Annotated[int | None, typer.Option(min=0, help=TIMELINE)] = None,
    approved_by: Annotated[
        str, typer.Option(help="Your name, to promote although something is inconclusive. The certificate says so.")
    ] = "",
    approval_reason: Annotated[str, typer.Option(help="Why that is right.")] = "",
    salvage: Annotated[
        bool, typer.Option(help="Ship what the source's own disk still holds and the store lacks, before planning.")
    ] = True,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Lanes replayed side by side.")] = 4,
    through_airflow: Annotated[
        bool, typer.Option("--via-airflow", help="Let Airflow do it: DAG restore, or restore_fleet for several shards.")
    ] = False,
    incident: Annotated[
        str | None, typer.Option(help="With --via-airflow: its name. Asked again, the same restore is joined.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="With --via-airflow: follow it; see relight status.")] = False,
    airflow: via_airflow.AirflowOption = None,
    fleet: FleetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rebuild a lost shard from its backups, prove it, promote it and its replicas."""
    if (approved_by, approval_reason) == PLACEHOLDERS:
        raise typer.BadParameter("put your own name and reason there", param_hint="--approved-by, --approval-reason")
    if through_airflow:
        if run_id:
            raise typer.BadParameter("a run of Airflow is named by --incident", param_hint="--run-id")
        with readable_errors():
            ordered = Order(
                incident=incident_id(incident or via_airflow.new_incident()), shard=shards[0],
                target=Target.parse(target), mode=mode, skip=GtidSet.parse(",".join(skip_gtid or ())), salvage=salvage,
                approved_by=approved_by, approval_reason=approval_reason, timeline=timeline,
            )  # fmt: skip
        via_airflow.order(ordered, list(dict.fromkeys(shards)), airflow=airflow, wait=wait, as_json=as_json)
        return
    if incident or wait or airflow:
        raise typer.BadParameter("only together with --via-airflow", param_hint="--incident, --wait, --airflow")
    if len(shards) > 1:
        raise typer.BadParameter("without --via-airflow one shard at a time", param_hint="SHARDS")
    (shard,) = shards
    from relight.recover import recover  # everything is needed for it, and nothing of that to refuse

    with readable_errors(), open_site(fleet) as site:
        site.fleet.shard(shard)
        run = Run(
            run_id=run_id or fresh_name("cli"), shard=shard, target=Target.parse(target),
            mode=mode, approved_by=approved_by, approval_reason=approval_reason,
            skip=GtidSet.parse(",".join(skip_gtid or ())), salvage=salvage, timeline=timeline,
        )  # fmt: skip
        site.progress.say(f"run {run.run_id}; if it is interrupted: {run.command(goes_on=True)}")
        report = recover(site, run, workers=workers)
    if as_json:
        print(report.model_dump_json(indent=1))
    else:
        print(
            f"{report.outcome} in {report.seconds:.1f} s, {report.rows} rows in {report.tables} tables: {report.page}"
        )


def validate(
    shard: Annotated[str, typer.Argument(help="The shard that was rebuilt.")],
    run_id: Annotated[str, typer.Option(help="The run that rebuilt it.")],
    mode: Annotated[Literal["promote", "rehearse"], typer.Option()] = "promote",
    fleet: FleetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove a rebuilt, not yet promoted server again, and sign a new certificate."""
    from relight.steps.certify import certify
    from relight.steps.judge import judge
    from relight.steps.validate import validate_database

    with readable_errors(), open_site(fleet) as site:
        run = Run(run_id=run_id, shard=shard, target=Target(kind="latest"), mode=mode)
        folder = run.folder(site.fleet)
        for database in load_lanes(folder).databases:
            validate_database(site, run, database)
        verdicts = load_verdicts(folder)
        if as_json:
            print("[" + ",\n ".join(v.model_dump_json() for v in verdicts) + "]")
        else:
            console().print(verdict_table(verdicts))
        judge(site, run)
        certify(site, run)
