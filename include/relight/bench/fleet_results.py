"""What Airflow itself costs when a large fleet is restored."""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table

from relight.backups.manifest import Value


class Answers(Value):
    """How long Airflow's API took to answer, in milliseconds, while restores ran."""

    calls: int
    median_ms: float
    p95_ms: float
    worst_ms: float


class FleetBench(Value):
    """One simulated restore of a fleet. Times in seconds, as they passed here."""

    database: str
    """Airflow's own: ``sqlite`` or ``postgresql``."""
    shards: int
    databases: int
    at_once: int
    speedup: float
    cores: int
    tasks_per_restore: int
    done: int
    failed: int
    most_at_once: int
    """As Airflow's runs say."""
    in_store_pool: int
    """Tasks that the scheduler has run in the pool of the store."""
    wall_s: float
    """From the choice of the shards to the end of the last restore."""
    ideal_s: float
    """What it would have been if nothing but the steps themselves took time."""
    api: dict[str, Answers]

    @property
    def per_shard_s(self) -> float:
        """What Airflow adds, a shard."""
        return (self.wall_s - self.ideal_s) / self.shards

    @property
    def per_task_s(self) -> float:
        """What Airflow adds, a task."""
        return self.per_shard_s / self.tasks_per_restore

    def document(self) -> dict[str, object]:
        """For programs."""
        return {
            **self.model_dump(mode="json"), "overhead_per_shard_s": round(self.per_shard_s, 3),
            "overhead_per_task_s": round(self.per_task_s, 3),
        }  # fmt: skip


def ideal(seconds: Iterable[float], at_once: int) -> float:
    """Pure: when the last ends, if ``at_once`` go on at any time and each begins as soon as there is room."""
    room = [0.0] * at_once
    for one in seconds:
        heapq.heapreplace(room, room[0] + one)
    return max(room)


def answers(milliseconds: Sequence[float]) -> Answers:
    """Pure: what was measured, in short."""
    ordered = sorted(milliseconds)
    return Answers(
        calls=len(ordered), median_ms=round(statistics.median(ordered), 1), worst_ms=round(ordered[-1], 1),
        p95_ms=round(ordered[int(0.95 * (len(ordered) - 1))], 1),
    )  # fmt: skip


def most_at_once(spans: Iterable[tuple[datetime, datetime]]) -> int:
    """Pure: how many of these were going on at the same moment. One that ends as another begins makes room for it."""
    changes = sorted(change for begin, end in spans for change in ((begin, 1), (end, -1)))
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def show_fleet(console: Console, found: FleetBench) -> None:
    """As a table."""
    table = Table("what", "value", box=None)
    for what, value in (
        ("shards x databases", f"{found.shards} x {found.databases}"),
        ("restores at once", f"{found.at_once}; at most {found.most_at_once} were"),
        ("Airflow's database", found.database),
        ("tasks per restore", str(found.tasks_per_restore)),
        ("restored / failed", f"{found.done} / {found.failed}"),
        ("took", f"{found.wall_s:.1f} s; ideal {found.ideal_s:.1f} s"),
        ("Airflow adds", f"{found.per_shard_s:.2f} s a shard, {found.per_task_s:.2f} s a task, on {found.cores} cores"),
        *(
            (f"API: {name}", f"median {one.median_ms:.0f} ms, 95 % {one.p95_ms:.0f} ms")
            for name, one in found.api.items()
        ),
    ):
        table.add_row(what, value)
    console.print(table)
