"""Operators: each runs one function of the library and hands on its small result."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pkgutil import resolve_name
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException, AirflowTaskTimeout

from relight.backups.manifest import Value
from relight.errors import LaneBlocked, RelightError
from relight.rehearsal.history import sabotages_for
from relight.sabotage import Sabotage
from relight.site import Run
from relight_airflow import claim, incidents, metrics, promises, request, work
from relight_airflow.failures import plain_errors
from relight_airflow.notify import notify
from relight_airflow.place import fleet, open_site

CHECK = "check"
"""The first task of a restore; its result is the run."""


class RelightOperator(BaseOperator):
    """What all have in common: being killed cleanly."""

    ui_color = "#f3ead7"

    def on_kill(self) -> None:
        """End what this task left running on servers and on this machine, then the task itself.

        SIGKILL cannot be handled: there the kernel ends the children (see relight.server.command), and
        the servers roll back what was not committed.
        """
        import psutil

        from relight.server.session import kill_open_sessions

        kill_open_sessions()
        own = os.getsid(0)
        for child in psutil.Process().children(recursive=True):
            # A mysqld that was started to stay has a session of its own.
            if _session_of(child.pid) == own:
                child.terminate()
        if not isinstance(sys.exception(), AirflowTaskTimeout):
            # Airflow calls this from a signal handler and would let the step go on afterwards.
            # Unlike an exception proper this is not taken for an error of the step; Airflow retries it.
            raise SystemExit(143)


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


class CheckOperator(RelightOperator):
    """First task of a restore: refuse a request that makes no sense, and claim the server.

    Gives the run, which every later task reads.

    :param mode: overrides the parameter ``mode``, for a DAG that only rehearses.
    """

    def __init__(self, *, mode: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mode = mode

    def execute(self, context: Any) -> dict[str, Any]:
        """Check, claim, and give the run."""
        dag_run = context["dag_run"]
        with plain_errors(self.log):
            request.refuse_unknown(dag_run.conf or {}, context["dag"].params)
            if getattr(dag_run, "run_type", None) == "operator_triggered" and self.mode == "rehearse":
                incidents.skip_during(context["ti"])  # one that a person has asked for goes on
            here = fleet()
            run = request.read_request(
                here,
                run_id=f"{dag_run.dag_id}__{dag_run.run_id}",
                params=context["params"],
                mode=self.mode,
                requested_by=str(getattr(dag_run, "triggering_user_name", "") or ""),
            )
            if run.mode == "rehearse":
                run = run.model_copy(update={"sabotages": self._sabotages(run, context["params"])})
            claim.take(context["ti"], run.server(here).name)
        self.log.info("%s %s to %s on server %s", run.mode, run.shard, run.target, run.server(here).name)
        notify("started", context, what=f"{run.mode} to {run.target} has started")
        return run.model_dump(mode="json")

    def _sabotages(self, run: Run, params: Any) -> tuple[Sabotage, ...]:
        wanted = request.said(params, "sabotage") or request.NO_SABOTAGE
        if wanted != request.IN_TURN:
            return request.read_sabotage(wanted)
        site = open_site(self.log)
        return sabotages_for(site.store, site.fleet, run.shard)


class StepOperator(RelightOperator):
    """Runs one step of a restore.

    :param step: the step function, as ``module.function``; imported when the task runs, so that a
        process that only parses the DAG or runs another step does not load it.
    :param keys: what the step is called for, one call each: segment or lane group numbers,
        databases, servers. None: the step takes no key and is called once.
    :param part: what the grid calls a mapped task; use ``map_index_template="{{ task.part }}"``.
    :param modes: the modes of a run that the step belongs to; in others the task is skipped.
    :param needs: a task without whose result there is nothing to do; the task is skipped then. For
        tasks that run whether or not the ones before them succeeded.
    :param fan_out: the function of :mod:`relight_airflow.work` that makes the list which the next,
        mapped task expands over. The list is then the task's result, and what the step gave is
        under the key ``summary``.
    """

    template_fields: Sequence[str] = ("keys", "part")

    def __init__(
        self,
        *,
        step: str,
        keys: list[Any] | None = None,
        part: str = "",
        modes: Sequence[str] = request.MODES,
        needs: str | None = None,
        fan_out: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.step = step
        self.keys = keys
        self.part = part
        self.modes = modes
        self.needs = needs
        self.fan_out = fan_out

    def execute(self, context: Any) -> Any:
        """Call the step and give its result, or what it means for the next task."""
        ti = context["ti"]
        if self.needs and ti.xcom_pull(task_ids=self.needs) is None:
            raise AirflowSkipException(f"nothing to do: {self.needs} did not succeed")
        run = self.run_of(ti)
        if run.mode not in self.modes:
            raise AirflowSkipException(f"not part of a run with mode {run.mode}")
        with plain_errors(self.log):
            site = open_site(self.log)
            claim.check(ti, run.server(site.fleet).name)
            step = resolve_name(self.step)
            result = self._call(step, site, run)
            metrics.after_step(step, site.fleet, run, result)
            promises.after_step(step, site, run, context, self.log)
            if self.fan_out is None:
                return result
            ti.xcom_push(key="summary", value=result)
            return getattr(work, self.fan_out)(site, run, result)

    def run_of(self, ti: Any) -> Run:
        """The run as the first task made it."""
        return Run.model_validate(ti.xcom_pull(task_ids=CHECK))

    def _call(self, step: Callable[..., Any], site: Any, run: Run) -> Any:
        if self.keys is None:
            return step(site, run).model_dump(mode="json")
        if not self.keys:
            self.log.info("nothing to do")
        return [step(site, run, key).model_dump(mode="json") for key in self.keys]


class ReplayOperator(StepOperator):
    """Replays lane groups. One that needs something of another lane is put off, not failed."""

    def _call(self, step: Callable[..., Any], site: Any, run: Run) -> Any:
        def replay_or_put_off(site: Any, run: Run, number: int) -> Any:
            try:
                return step(site, run, number)
            except LaneBlocked as blocked:
                self.log.warning("put off until the other lanes are through: %s", blocked)
                return PutOff(number=number)

        return super()._call(replay_or_put_off, site, run)


class PutOff(Value):
    """What :class:`ReplayOperator` gives for a group that was put off."""

    number: int
    put_off: bool = True


class PutOffOperator(StepOperator):
    """Runs the step for what a mapped ReplayOperator has put off: usually nothing.

    :param results: that task's ``output``.
    """

    template_fields: Sequence[str] = ("results",)

    def __init__(self, *, results: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.results = results

    def execute(self, context: Any) -> Any:
        """Find the groups, then go on as any step."""
        # The slice is one request; iterating would make one for every instance of the task.
        self.keys = [one["number"] for portion in self.results[:] for one in portion if one.get("put_off")]
        return super().execute(context)


class DatabasesOperator(RelightOperator):
    """Makes the list that validation expands over from what ``plan_lanes`` found."""

    def __init__(self, *, source: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source = source

    def execute(self, context: Any) -> list[dict[str, Any]]:
        """The databases, in portions."""
        ti = context["ti"]
        run = Run.model_validate(ti.xcom_pull(task_ids=CHECK))
        return work.databases(run, ti.xcom_pull(task_ids=self.source, key="summary"))


class WatcherOperator(BaseOperator):
    """Fails when anything before it failed. Without it, a run whose last task cleans up
    successfully would count as a success."""

    def execute(self, context: Any) -> None:
        """Fail."""
        with plain_errors(self.log):
            raise RelightError("a task before this one failed", hint="its own log says why")
