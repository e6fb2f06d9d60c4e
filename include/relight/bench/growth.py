"""``relight bench scale`` and ``relight bench memory``: what replay costs as logs grow."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from relight.backups.manifest import Value
from relight.bench.peak import Watched, replay_watched
from relight.bench.results import Machine, this_machine
from relight.bench.stage import History, Stage, history, measure
from relight.bench.tables import LARGE_TRANSACTION
from relight.bench.workloads import LARGE_ROWS, Workload, chosen

MEMORY_LIMIT = 512 * 2**20
"""Bytes that the processes of a replay may take together, however long the log is."""

_LARGE_ROWS = 20_000


class Step(Value):
    """Relight as planned on a log of one size."""

    transactions: int
    log_bytes: int
    seconds: float
    seconds_per_100_mb: float
    largest_process_bytes: int
    together_bytes: int
    checksums_equal: bool


class Scale(Value):
    """The same workload with more and more transactions."""

    machine: Machine
    workload: str
    steps: tuple[Step, ...]


class Memory(Value):
    """One long log."""

    machine: Machine
    step: Step
    limit_bytes: int
    stayed_under: bool


def run_scale(stage: Stage, *, rows: int, transactions: Sequence[int]) -> Scale:
    """Replay logs of these lengths as planned. :raises LabError: rows differ at the end."""
    (workload,) = chosen(["skewed"])
    steps = tuple(_step(stage, workload, rows, count) for count in transactions)
    return Scale(machine=this_machine(stage.mysql), workload=workload.name, steps=steps)


def run_memory(stage: Stage, *, gib: float) -> Memory:
    """Replay a log of about ``gib`` GiB as planned. :raises LabError: rows differ at the end."""
    transactions = max(int(gib * 2**30 / LARGE_TRANSACTION), 8)
    step = _step(stage, LARGE_ROWS, min(_LARGE_ROWS, transactions), transactions)
    return Memory(
        machine=this_machine(stage.mysql), step=step, limit_bytes=MEMORY_LIMIT,
        stayed_under=step.together_bytes < MEMORY_LIMIT,
    )  # fmt: skip


def _step(stage: Stage, workload: Workload, rows: int, transactions: int) -> Step:
    stage = dataclasses.replace(stage, folder=stage.folder / f"{workload.name}-{transactions}")
    with history(stage, workload, rows=rows, transactions=transactions) as past:
        stage.say(f"{workload.name}: replaying {past.log_bytes / 1e6:.1f} MB of log ...")
        watched = measure(stage, past, "planned", replay_watched)
    stage.say(f"{workload.name}: {past.log_bytes / 1e6:.1f} MB of log in {watched.seconds:.2f} s")
    return _described(past, watched)


def _described(past: History, watched: Watched) -> Step:
    return Step(
        transactions=past.transactions, log_bytes=past.log_bytes, seconds=watched.seconds,
        seconds_per_100_mb=round(watched.seconds / (past.log_bytes / 1e8), 3),
        largest_process_bytes=watched.largest_process_bytes, together_bytes=watched.together_bytes,
        checksums_equal=True,
    )  # fmt: skip
