"""The task that begins the rehearsals of a night."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from relight.rehearsal.history import load_history, whose_turn
from relight.rehearsal.turns import due, tonight
from relight.site import Site
from relight_airflow import incidents, request
from relight_airflow.failures import plain_errors
from relight_airflow.operators import RelightOperator
from relight_airflow.place import open_site


class TurnOperator(RelightOperator):
    """Whose turn it is to be rehearsed: one configuration of DAG ``rehearse`` for each shard."""

    def execute(self, context: Any) -> list[dict[str, str]]:
        """So many as keep what the tiers promise, or as parameter ``shards`` says; none while a shard is restored."""
        with plain_errors(self.log):
            request.refuse_unknown(context["dag_run"].conf or {}, context["dag"].params)
            incidents.skip_during(context["ti"])
            turn = self._turn(open_site(self.log), context["params"])
        self.log.info("it is the turn of %s", ", ".join(turn) or "nobody")
        return [{"shard": name} for name in turn]

    def _turn(self, site: Site, params: Any) -> Sequence[str]:
        wanted = params.get("shards")
        if wanted is not None:
            return whose_turn(site.store, site.fleet, int(wanted))
        histories = load_history(site.store, site.fleet)
        turn = tonight(
            due(histories, site.fleet), datetime.now(UTC), at_once=site.fleet.limits.rehearsals,
            hours=float(params["hours"]),
        )  # fmt: skip
        self.log.info("%s", turn.why)
        return turn.shards
