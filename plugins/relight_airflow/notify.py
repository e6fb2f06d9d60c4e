"""Telling people what becomes of a restore, by any notifier of any Airflow provider, as configured; none is needed.

Nothing that goes wrong here stops a restore: it is said in the log, in words.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from pkgutil import resolve_name
from threading import Thread
from typing import Any, Literal
from urllib.parse import quote

import yaml
from airflow.sdk import BaseNotifier, Variable
from airflow.sdk.configuration import conf
from pydantic import Field, TypeAdapter, ValidationError

from relight.backups.manifest import Value
from relight.errors import FleetError

FILE, VARIABLE = "RELIGHT_NOTIFY", "relight_notify"
"""Where the configuration is: the path of a file in the environment, else the text of an Airflow Variable."""

PATIENCE = 60.0
"""So many seconds a notifier may take. Longer, and the restore goes on without it."""

Event = Literal["started", "waiting", "predicted_to_miss", "done", "failed"]

SAID: Mapping[Event, str] = {
    "started": "a restore has started",
    "waiting": "waits for a person: nothing is opened before somebody decides",
    "predicted_to_miss": "is predicted to take longer than promised",
    "done": "is back",
    "failed": "the restore has failed",
}
"""What is said of an event where nothing more is known. Of a rehearsal: see :class:`Notice`."""


class NotifierSettings(Value):
    """Who is told of what. ``arguments`` are the notifier's own; those that it calls templates are rendered."""

    on: tuple[Event, ...] = Field(min_length=1)
    notifier: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")
    """The class, as ``module.Class``."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    dags: tuple[Literal["restore", "restore_fleet", "rehearse"], ...] = ("restore", "restore_fleet")


class Notice(Value):
    """What templates know as ``relight``: ``{{ relight.text }}``, ``{{ relight.shard }}`` and so on."""

    event: Event
    shard: str
    incident: str
    """What the run's name begins with; the whole name where it does not end with the shard's."""
    dag: str
    run: str
    what: str
    link: str
    """The run's page in Airflow."""

    @property
    def text(self) -> str:
        """All of it on one line."""
        kind = "rehearsal of " if self.dag == "rehearse" else ""
        return f"{kind}{self.shard or 'the fleet'}: {self.what} (incident {self.incident}) {self.link}"


def notify(
    event: Event, context: Any, *, dag_id: str = "", run_id: str = "", shard: str = "", what: str = ""
) -> None:  # fmt: skip
    """Tell everybody who is to be told. Never raises.

    :param context: the context of the task or the callback that calls this. What is not given is taken from its run;
        a task that watches other runs names them.
    :param what: what has happened, in words.
    """
    log = logging.getLogger(__name__)
    try:
        notice = notice_of(event, context, dag_id=dag_id, run_id=run_id, shard=shard, what=what)
        wanted = [one for one in settings() if event in one.on and notice.dag in one.dags]
    except Exception as error:  # noqa: BLE001 - also what cannot be foreseen must not stop a restore
        log.warning("nobody is told that %s: %s", event, error)
        return
    for one in wanted:
        _tell(one, notice, context, log)


def notice_of(event: Event, context: Any, *, dag_id: str, run_id: str, shard: str, what: str) -> Notice:
    """What there is to say of the run of a context, or of another one."""
    run = context["dag_run"]
    dag, name = dag_id or run.dag_id, run_id or run.run_id
    about = shard or str((run.conf or {}).get("shard") or "")
    base = conf.get("api", "base_url", fallback="http://localhost:8080").rstrip("/")
    return Notice(
        event=event, shard=about, incident=name.removesuffix(f"__{about}"), dag=dag, run=name,
        what=what or SAID[event], link=f"{base}/dags/{dag}/runs/{quote(name, safe='')}",
    )  # fmt: skip


def settings() -> tuple[NotifierSettings, ...]:
    """Who is to be told, none where nothing is configured. :raises FleetError: with every mistake."""
    path = os.environ.get(FILE)
    text = Path(path).read_text(encoding="utf-8") if path else str(Variable.get(VARIABLE, default="") or "")
    try:
        return TypeAdapter(tuple[NotifierSettings, ...]).validate_python(yaml.safe_load(text) or ())
    except (ValidationError, yaml.YAMLError) as error:
        raise FleetError(
            "nobody can be told", on=path or f"Variable {VARIABLE}", why="; ".join(_mistakes(error)),
            hint="the README shows what the list of notifiers looks like",
        ) from None  # fmt: skip


def _mistakes(error: ValidationError | yaml.YAMLError) -> Iterator[str]:
    if isinstance(error, yaml.YAMLError):
        yield " ".join(str(error).split())
        return
    # Arguments may hold what is nobody's business: the input is not repeated.
    for one in error.errors(include_input=False, include_url=False):
        yield f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}"


def _tell(one: NotifierSettings, notice: Notice, context: Any, log: logging.Logger) -> None:
    failure: list[BaseException] = []

    def call() -> None:
        try:
            kind = resolve_name(":".join(one.notifier.rsplit(".", 1)))
            notifier: BaseNotifier = kind(**one.arguments)
            notifier({**context, "relight": notice})
        except BaseException as error:  # noqa: BLE001 - somebody else's code, which may do anything
            failure.append(error)

    # In a thread of its own, as it may also hang.
    thread = Thread(target=call, name=f"notify {notice.event}", daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if thread.is_alive():
        log.warning("%s was not told that %s: it takes longer than %.0f s", one.notifier, notice.event, PATIENCE)
    elif failure:
        why = f"{type(failure[0]).__name__}: {failure[0]}"
        log.warning("%s was not told that %s, and the run goes on: %s", one.notifier, notice.event, why)
    else:
        log.info("%s was told: %s", one.notifier, notice.what)


class Waiting(BaseNotifier):
    """What the task that asks a person calls once it has asked."""

    def notify(self, context: Any) -> None:
        """Tell who is to be told."""
        notify("waiting", context)


def when_done(context: Any) -> None:
    """What a DAG calls when a run has succeeded; in the dag-processor."""
    notify("done", context, what="was proved" if context["dag_run"].dag_id == "rehearse" else "")


def when_failed(context: Any) -> None:
    """What a DAG calls when a run has failed, also when a person has marked it so."""
    task = getattr(context.get("ti"), "task_id", "")
    notify("failed", context, what=f"failed in task {task}" if task and task != "watcher" else "")
