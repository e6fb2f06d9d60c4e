"""``relight restore --via-airflow`` and ``relight status``: the same restore as a button in Airflow, for programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

from relight.airflow_api.client import AirflowApi
from relight.airflow_api.following import EXIT_STATUS, UNKNOWN, State, Status, follow, look, overall, runs_of
from relight.airflow_api.orders import Order, Placed, place, place_many
from relight.cli.context import readable_errors
from relight.credentials import EnvironmentCredentials, Login
from relight.errors import AirflowUnavailable, CredentialsMissing, FleetError, command_line
from relight.incident.naming import fresh_name
from relight.lab.airflow import LabAirflow
from relight.lab.place import Place

ADDRESS = "RELIGHT_AIRFLOW_URL"

AirflowOption = Annotated[
    str | None, typer.Option("--airflow", help=f"Airflow's address. Default: {ADDRESS}, else the lab's.")
]


def status(
    name: Annotated[str, typer.Argument(help="An incident, or a run of Airflow.", metavar="INCIDENT|RUN")],
    once: Annotated[bool, typer.Option("--once", help="Look once, and do not follow.")] = False,
    past_waiting: Annotated[
        bool, typer.Option("--past-waiting", help="Go on while a person is waited for, instead of ending with 3.")
    ] = False,
    airflow: AirflowOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document a line, one line per change.")] = False,
) -> None:
    """Follow the restores of an incident, or one run.

    Exit status: 0 done, 1 failed, 3 waits for a person, 4 goes on (only with --once), 5 Airflow does not answer.
    """
    with _airflow(airflow) as api:
        runs_of(api, name)
        _finish(_watched(api, lambda: runs_of(api, name), as_json=as_json, once=once, past_waiting=past_waiting))


def order(one: Order, shards: Sequence[str], *, airflow: str | None, wait: bool, as_json: bool) -> None:
    """Place the order, for one shard or for several, say what became of it, and follow it where ``wait`` says so.

    Ends the command.
    """
    with _airflow(airflow) as api:
        placed = place(api, one) if len(shards) == 1 else place_many(api, one, shards)
        _say(placed, command_line("status", one.incident))

        def runs() -> list[tuple[str, str]]:
            return [(placed.dag_id, placed.run_id)] if len(shards) == 1 else runs_of(api, one.incident)

        state = _watched(api, runs, as_json=as_json, once=not wait, past_waiting=False)
        _finish(state if wait or state == "failed" else "done")


def new_incident() -> str:
    """A name for an incident that has none."""
    return fresh_name("cli")


def _say(placed: Placed, follow_it: str) -> None:
    """On standard error: standard output is the statuses alone."""
    for dag in placed.unpaused:
        print(f"DAG {dag} was paused: its runs would have waited. It is not any more", file=sys.stderr)
    began = "joins" if placed.joined else "starts"
    print(f"{began} run {placed.run_id} of DAG {placed.dag_id}; to follow it: {follow_it}", file=sys.stderr)
    if placed.over:
        print(
            f"that run is over ({placed.over}): nothing is restored again by it. If the shard was lost once more, name "
            "another incident; what failed goes on when its task is cleared", file=sys.stderr,
        )  # fmt: skip


def _watched(
    api: AirflowApi, find: Callable[[], list[tuple[str, str]]], *, as_json: bool, once: bool, past_waiting: bool
) -> State:
    """Print what is seen, and give the last of it."""
    seen: dict[str, State] = {}
    told: set[tuple[str, str, str]] = set()
    looks = (look(api, *one) for one in find()) if once else follow(api, find, past_waiting=past_waiting)
    for one in looks:
        seen[one.run] = one.state
        print(one.model_dump_json() if as_json else _text(one, told), flush=True)
        told |= {(one.run, failed.task, failed.said) for failed in one.failed}
    return overall(list(seen.values()))


def _text(one: Status, told: Collection[tuple[str, str, str]] = ()) -> str:
    """Failures that were ``told`` already are not told again: a run goes on to its end behind them."""
    words = [f"{one.at:%H:%M:%S}", one.shard or one.run, one.state]
    if one.state == "waiting":
        words.append(f"for a person to answer {', '.join(one.waiting)}: {one.page}")
    elif one.running:
        words.append(", ".join(one.running))
    return " ".join(words) + "".join(
        f"\n  {failed.task}: {failed.said}" for failed in one.failed if (one.run, failed.task, failed.said) not in told
    )


def _finish(state: State) -> None:
    raise SystemExit(EXIT_STATUS[state])


@contextmanager
def _airflow(url: str | None) -> Iterator[AirflowApi]:
    """Airflow's API as the account of the environment, else that of the lab if it is up."""
    with readable_errors():
        try:
            with AirflowApi(*_address_and_login(url)) as api:
                yield api
        except AirflowUnavailable as error:
            print(f"relight: {error}", *([f"hint: {error.hint}"] if error.hint else []), sep="\n", file=sys.stderr)
            raise SystemExit(UNKNOWN) from None


def _address_and_login(url: str | None) -> tuple[str, Login]:
    named = url or os.environ.get(ADDRESS)
    try:
        login = EnvironmentCredentials().login("airflow")
    except CredentialsMissing:
        if named:
            raise
    else:
        if named:
            return named, login
        raise FleetError("Airflow's address is not known", hint=f"name it with --airflow or {ADDRESS}")
    lab = LabAirflow.of(Place.find())
    return lab.url, Login(*lab.login)
