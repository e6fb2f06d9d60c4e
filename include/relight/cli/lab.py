"""``relight lab``: a real fleet on this machine."""

from __future__ import annotations

import dataclasses
import importlib
import json
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from relight.cli.context import readable_errors
from relight.cli.demo import demo
from relight.errors import LabError, command_line
from relight.gtid import GtidSet
from relight.lab import fleet, secrets
from relight.lab import install as installing
from relight.lab.airflow import LabAirflow
from relight.lab.ledger import check_ledger
from relight.lab.place import Place
from relight.lab.schema import DATABASES
from relight.lab.state import State
from relight.lab.status import LabStatus, lab_status
from relight.lab.workload import Pace, Workload
from relight.progress import Lines
from relight.server.environment import PYTHON
from relight.server.session import connect

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="A real fleet on this machine: for the demo, for practice, for tests.",
)
app.command()(demo)

workload = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="An application that writes to a shard and keeps a ledger."
)
app.add_typer(workload, name="workload")

ShardName = Annotated[str, typer.Argument(help="The shard's name.")]
Threads = Annotated[int, typer.Option(min=1, max=64, help="How many connections write.")]
Rate = Annotated[
    float | None, typer.Option(min=0.1, help="Transactions per second in all; as many as it can if left out.")
]


@app.command()
@readable_errors()
def install() -> None:
    """Get MySQL, an S3 server, Redis and PostgreSQL, below .lab, unless they are there; compile the inner loops."""
    say = _say("setup")
    installing.install(Place.find(), say)
    say("compiling the inner loops of replay, unless that was done before (half a minute)")
    importlib.import_module("relight.binlog.kernels")


@app.command()
@readable_errors()
def up(
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove an earlier fleet and its backups first.")] = False,
    with_airflow: Annotated[bool, typer.Option("--airflow", help="Start Airflow too.")] = False,
) -> None:
    """Start the lab: an S3 server and two shards of three MySQL servers."""
    place = Place.find()
    fleet.up(place, _say("lab"), fresh=fresh)
    typer.echo(f"lab: fleet file {place.fleet_file}, passwords {place.credentials_file}")
    if with_airflow:
        airflow = LabAirflow.of(place)
        airflow.start().close()
        user, password = airflow.login
        typer.echo(f"lab: Airflow {airflow.url}  user {user}, password {password}")


@app.command()
@readable_errors()
def down() -> None:
    """Stop everything that the lab started. The data stay."""
    fleet.down(Place.find(), _say("lab"))


@app.command()
@readable_errors()
def status(as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """Show what runs."""
    found = lab_status(Place.find())
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(found), indent=2))
    else:
        _show(found)


@app.command()
@readable_errors()
def destroy(shard: Annotated[str, typer.Argument(help="The shard to lose.")]) -> None:
    """Kill all servers of a shard and empty their data directories, as a reinstall script would."""
    place = Place.find()
    killed = fleet.destroy(fleet.lab_fleet(place).shard(shard))
    typer.echo(f"lab: {shard} is lost: {killed} mysqld killed, data directories emptied")


@app.command()
@readable_errors()
def check(
    shard: ShardName,
    gtids: Annotated[str | None, typer.Option(help="Only these transactions are expected; all if left out.")] = None,
) -> None:
    """Compare a shard's source with the workload's ledger: every commit exactly once, and nothing else."""
    place = Place.find()
    up_to = None if gtids is None else GtidSet.parse(gtids)
    with connect(fleet.lab_fleet(place).shard(shard).source, secrets.login(place, "admin")) as session:
        verdict = check_ledger(session, place.ledger(shard), DATABASES, up_to)
    if not verdict.ok:
        raise LabError("the ledger does not agree", on=shard, why=str(verdict))
    typer.echo(f"lab: {shard}: {verdict}")


@app.command()
@readable_errors()
def screenshots(
    shard: Annotated[str, typer.Option(help="The shard that is rehearsed meanwhile.")] = "shard-2",
    folder: Annotated[Path, typer.Option(help="Where the pictures go.")] = Path("docs"),
) -> None:
    """Take pictures of the pages while a rehearsal goes on in the lab."""
    from relight.lab.screenshots import take  # the browser's driver is needed for nothing else

    for file in take(Place.find(), shard, folder, Lines(sys.stdout)):
        typer.echo(f"screenshots: {file}, {file.stat().st_size // 1024} KiB")


@workload.command()
@readable_errors()
def start(shard: ShardName, threads: Threads = 4, rate: Rate = None) -> None:
    """Begin to write in the background."""
    place = Place.find()
    fleet.lab_fleet(place).shard(shard)
    state = State(place.state_file)
    if _job(shard) in state.running():
        raise LabError(
            "a workload runs already", on=shard, hint=f"stop it: {command_line('lab', 'workload', 'stop', shard)}"
        )
    arguments = ["workload", "run", shard, f"--threads={threads}", *([] if rate is None else [f"--rate={rate}"])]
    command = [sys.executable, "-c", "from relight.cli.lab import app; app()", *arguments]
    log = place.ledger(shard).with_suffix(".log")
    state.start(
        _job(shard), command, cwd=place.root, log=log, environment={"RELIGHT_LAB": str(place.root)}, also=PYTHON
    )
    typer.echo(f"lab: writing to {shard}, ledger {place.ledger(shard)}")


@workload.command()
@readable_errors()
def stop(shard: ShardName) -> None:
    """End the one in the background; what it has under way is finished first."""
    ended = State(Place.find().state_file).end(_job(shard), grace=30)
    typer.echo(f"lab: {'stopped writing' if ended else 'nothing wrote'} to {shard}")


@workload.command()
@readable_errors()
def run(
    shard: ShardName,
    threads: Threads = 4,
    rate: Rate = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Stop by itself after so long.")] = None,
) -> None:
    """Write until it is interrupted or the source is gone."""
    place = Place.find()
    source = fleet.lab_fleet(place).shard(shard).source
    # The default would end the process in the middle of its transactions.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    job = Workload(
        source, secrets.login(place, "application"), secrets.login(place, "admin"), place.ledger(shard),
        pace=Pace(threads, rate), seed=time.time_ns(),
    ).start()  # fmt: skip
    end = None if seconds is None else time.monotonic() + seconds
    try:
        while job.running and (end is None or time.monotonic() < end):
            time.sleep(0.1)
    except KeyboardInterrupt:
        pass  # asked to stop: that is what comes next
    typer.echo(f"lab: {shard}: {job.stop()}")


def _job(shard: str) -> str:
    return f"workload {shard}"


def _say(topic: str) -> fleet.Say:
    return lambda text: typer.echo(f"{topic}: {text}")


def _show(found: LabStatus) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = 160  # nobody's window: do not cut what a pipe or a log gets
    if not found.servers:
        console.print(f"No lab here yet: {command_line('lab', 'up')}")
        return
    table = Table("server", "role", "address", "process", "state", "transactions", "behind", "replication", box=None)
    for server in found.servers:
        values = (server.name, server.role, server.address, server.pid, server.condition, server.transactions)
        cells = ["" if value is None else str(value) for value in (*values, server.behind, server.replication)]
        table.add_row(*cells)
    console.print(table)
    for name, pid in found.processes.items():
        console.print(f"{name}: process {pid}", highlight=False)
    console.print(f"object store: {found.endpoint}", highlight=False)
