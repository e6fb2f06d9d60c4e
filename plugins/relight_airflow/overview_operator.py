"""The operator that looks at the whole fleet."""

from __future__ import annotations

from collections import Counter
from typing import Any

from relight_airflow import metrics
from relight_airflow.failures import plain_errors
from relight_airflow.operators import RelightOperator
from relight_airflow.place import open_site


class OverviewOperator(RelightOperator):
    """Looks at every shard, keeps what was seen, and sends it as metrics."""

    def execute(self, context: Any) -> dict[str, Any]:
        """How many shards there are, by their health, and how many are down."""
        # Imported here, since every process that loads a DAG imports this module.
        from relight.overview.metrics import of_overview
        from relight.steps.overview import overview_fleet

        with plain_errors(self.log):
            seen = overview_fleet(open_site(self.log))
        metrics.emit(of_overview(seen, seen.at))
        down = sum(bool(card.down) for card in seen.cards)
        healths = Counter[str](card.health for card in seen.cards)
        return {"shards": len(seen.cards), "seconds": seen.seconds, "down": down, **healths}
