"""The tasks of ``restore_fleet``: check, choose, conduct, report."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from relight.errors import AirflowError, AirflowUnavailable, CredentialsMissing, FleetError, RelightError
from relight.fleet import Fleet, Shard
from relight.forecast.learning import learn
from relight.incident.asking import down_among
from relight.incident.choosing import candidates, in_words
from relight.incident.conducting import State, decide, runs_ahead, states_of
from relight.incident.order import in_turn, loads
from relight.incident.outcome import IncidentReport, keep, outcomes, skew
from relight_airflow import child_runs
from relight_airflow.failures import plain_errors
from relight_airflow.fleet_request import FleetRequest, read_fleet_request
from relight_airflow.operators import CHECK, RelightOperator
from relight_airflow.own_api import open_api
from relight_airflow.place import AirflowCredentials, fleet, open_site
from relight_airflow.pools import ABOUT, pools_for
from relight_airflow.request import most_restores, refuse_unknown

CHOOSE, CONDUCT = "choose", "conduct"

BETWEEN_LOOKS = 15.0
"""Seconds. The scheduler must have noticed that the task has ended before it starts it again, else it takes the end
of the first look for a failure of the second. On a busy machine that took more than 5 s."""


class CheckFleetOperator(RelightOperator):
    """First task of a restore of many shards: refuse a request that makes no sense, within seconds."""

    def execute(self, context: Any) -> dict[str, Any]:
        """Check, and give the request."""
        with plain_errors(self.log):
            refuse_unknown(context["dag_run"].conf or {}, context["dag"].params)
            asked = read_fleet_request(fleet(), context["params"], requested_by=_asker(context["dag_run"]))
            child_runs.refuse_if_paused(context["ti"])
        self.log.info("%s: %s shards %s to %s", asked.incident, asked.mode, in_words(asked.wanted), asked.target)
        return asked.model_dump(mode="json")


class ChooseOperator(RelightOperator):
    """Which shards are restored in which order, and the pools that their tasks take turns in."""

    def execute(self, context: Any) -> dict[str, Any]:
        """``order``: their names; ``pools``: why there are no pools, empty where there are."""
        with plain_errors(self.log):
            asked, site = _request(context["ti"]), open_site(self.log)
            meant = candidates(site.fleet, asked.wanted)
            states = states_of([shard.name for shard in meant], child_runs.counter(context["ti"], asked.incident))
            shards = self._wanted(meant, asked, states)
            for shard in shards:  # before any is started: what this incident restores already must be what is asked now
                if states[shard.name] != "missing":
                    child_runs.refuse_another(asked.incident, shard.name, asked.conf(shard.name, ""))
            parallel = site.fleet.store.parallel * 4
            order = in_turn(loads(site.store, shards, parallel=parallel), learn(site.store, parallel=parallel))
            pools = self._make_pools(site.fleet, shards)
        self.log.info("%s shards, at most %s at once: %s", len(order), site.fleet.limits.restores, ", ".join(order))
        return {"order": order, "pools": pools}

    def _wanted(self, meant: list[Shard], asked: FleetRequest, states: Mapping[str, State]) -> list[Shard]:
        if not asked.wanted.down:
            return meant
        # What this incident is rebuilding answers already, and is not back yet.
        down = {shard.name for shard in down_among(meant)}
        found = [shard for shard in meant if shard.name in down or states[shard.name] in ("active", "failed")]
        if not found:
            raise FleetError(
                "no shard is down", on=in_words(asked.wanted), why=f"of each of {len(meant)} shards a server answers",
                hint="name the shards that are to be restored; the guard still refuses what is alive",
            )  # fmt: skip
        return found

    def _make_pools(self, here: Fleet, shards: list[Shard]) -> str:
        try:
            with open_api(AirflowCredentials()) as api:
                api.make_pools(pools_for(here, shards), ABOUT)
        except AirflowUnavailable:
            raise
        except (CredentialsMissing, AirflowError) as error:
            # Shards that wait for somebody to mend an account are worse than shards that get in each other's way.
            self.log.warning("no pools, so restores may starve each other: %s", error.with_hint())
            return str(error)
        return ""


class ConductOperator(BaseSensorOperator):
    """Starts a run of DAG ``restore`` for each shard, as there is room, and waits until all have ended.

    Between two looks it holds no worker. All it knows it reads from Airflow's runs, so it may be killed, cleared
    or started twice at any time.
    """

    ui_color = "#f3ead7"

    def __init__(self, **kwargs: Any) -> None:
        month = 30 * 24 * 3600
        super().__init__(mode="reschedule", poke_interval=BETWEEN_LOOKS, timeout=month, **kwargs)

    def poke(self, context: Any) -> PokeReturnValue:
        """Look once. The result is the state of each shard's run, in their order."""
        ti = context["ti"]
        with plain_errors(self.log):
            asked, chosen = _request(ti), ti.xcom_pull(task_ids=CHOOSE)
            states = states_of(chosen["order"], child_runs.counter(ti, asked.incident))
            at_once, elapsed = fleet().limits.restores, datetime.now(UTC) - context["dag_run"].start_date
            ahead = runs_ahead(
                states, at_once, most_restores(), elapsed=elapsed.total_seconds(), between_looks=BETWEEN_LOOKS
            )
            decision = decide(chosen["order"], states, at_once, ahead)
            mark = "" if chosen["pools"] else ti.run_id
            for shard in decision.start:
                is_new = child_runs.start(asked.incident, shard, asked.conf(shard, mark))
                self.log.info("%s: %s", shard, "started" if is_new else "is there already, and is joined")
        counted = {state: list(states.values()).count(state) for state in ("done", "failed", "active", "missing")}
        self.log.info(
            "%s done, %s failed, %s active, %s to come; %s started now", *counted.values(), len(decision.start)
        )
        return PokeReturnValue(is_done=decision.over, xcom_value=states if decision.over else None)


class FleetReportOperator(RelightOperator):
    """Last task: what came of each shard, in the log and the store. It fails if any shard was not restored."""

    def execute(self, context: Any) -> dict[str, Any]:
        """``key``: of the report in the store; ``skew_s``."""
        with plain_errors(self.log):
            report = self._report(context)
            key = keep(open_site(self.log).store, report)
            for line in report.in_lines():
                self.log.info("%s", line)
            self.log.info("report: %s", key)
            if report.failed:
                raise RelightError(
                    "not every shard was restored", on=", ".join(one.shard for one in report.failed),
                    why="; ".join(f"{one.shard}: {one.why}" for one in report.failed[:10]),
                    hint="remove the cause and clear what failed in its own run; when that is done, clear task conduct "
                    "with downstream",
                )  # fmt: skip
        return {"key": key, "skew_s": report.skew_s, "done": len(report.shards)}

    def _report(self, context: Any) -> IncidentReport:
        ti, dag_run, site = context["ti"], context["dag_run"], open_site(self.log)
        asked, chosen = _request(ti), ti.xcom_pull(task_ids=CHOOSE)
        found = outcomes(
            site.store,
            asked.incident,
            asked.target,
            ti.xcom_pull(task_ids=CONDUCT),
            parallel=site.fleet.store.parallel * 4,
        )
        return IncidentReport(
            incident=asked.incident, requested_by=_asker(dag_run),
            target=str(asked.target), mode=asked.mode, began=dag_run.start_date, ended=datetime.now(UTC),
            at_once=site.fleet.limits.restores, pools=chosen["pools"], skew_s=skew(asked.target, found),
            shards=tuple(found),
        )  # fmt: skip


def _asker(dag_run: Any) -> str:
    return str(getattr(dag_run, "triggering_user_name", "") or "")


def _request(ti: Any) -> FleetRequest:
    return FleetRequest.model_validate(ti.xcom_pull(task_ids=CHECK))
