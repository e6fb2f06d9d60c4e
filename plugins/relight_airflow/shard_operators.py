"""Operators of DAGs that do one thing for every shard: a backup, a look at the fence."""

from __future__ import annotations

from collections.abc import Sequence
from pkgutil import resolve_name
from typing import Any

from relight.errors import FleetError, RelightError
from relight.operating_system import machine_errors
from relight_airflow import metrics, request, work
from relight_airflow.failures import plain_errors
from relight_airflow.operators import RelightOperator
from relight_airflow.place import fleet, open_site


def shard_bands() -> int:
    """How many lists of portions a DAG for every shard needs: one, unless there are thousands of queues."""
    try:
        here = fleet()
    except FleetError:
        return 1  # the first task says what is wrong with it
    return max(work.bands(here, dag_id) for dag_id in work.PER_SHARD)


class ShardsOperator(RelightOperator):
    """First task of what is done for many shards: which ones, in portions.

    :param band: which of the lists of portions this is, from 0; ``bands``: how many there are.
    """

    def __init__(self, *, band: int = 0, bands: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.band = band
        self.bands = bands

    def execute(self, context: Any) -> list[work.Portion]:
        """The portions of shards, as parameter ``shard`` says."""
        with plain_errors(self.log):
            request.refuse_unknown(context["dag_run"].conf or {}, context["dag"].params)
            here = fleet()
            names = tuple(request.chosen_shards(here, context["params"]))
            whole = work.shard_portions(here, context["dag"].dag_id, names)
            if len(whole) > self.bands * work.MOST_MAPPED:
                raise FleetError(
                    "the fleet has grown", on=f"{len(whole)} tasks", why="Airflow has not read the DAG files since",
                    hint="wait some minutes, then clear this task",
                )  # fmt: skip
        begin = self.band * work.MOST_MAPPED
        return list(whole[begin : begin + work.MOST_MAPPED])


class ShardOperator(RelightOperator):
    """Does something for shards of one queue, by ``step`` (``module.function``), which takes the site and the shard.

    :param keys: the shards. One that fails does not keep the next from its turn.
    :param part: what the grid calls the task.
    """

    template_fields: Sequence[str] = ("keys", "part")

    def __init__(self, *, step: str, keys: list[str], part: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step
        self.keys = keys
        self.part = part

    def execute(self, context: Any) -> list[dict[str, Any]]:
        """Call the step for each, and give the summaries. Another try goes on where this one has failed."""
        with plain_errors(self.log):
            site, step = open_site(self.log), resolve_name(self.step)
            memory = context["task_state_store"]
            done: dict[str, Any] = memory.get("done", default={})
            failed: dict[str, RelightError] = {}
            for shard in (one for one in self.keys if one not in done):
                try:
                    with machine_errors():
                        done[shard] = step(site, shard).model_dump(mode="json")
                except RelightError as error:
                    failed[shard] = error
                    self.log.warning("%s: %s", shard, error.with_hint())
                    continue
                metrics.after_shard(step, site.fleet, shard, done[shard])
                if len(self.keys) > 1:
                    memory.set("done", done)
            if failed:
                # If another try may help one of them, it is worth it.
                raise next((error for error in failed.values() if error.retryable), next(iter(failed.values())))
            memory.delete("done")  # so that clearing the task does it all again
        return [done[shard] for shard in self.keys]
