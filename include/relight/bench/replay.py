"""``relight bench replay``: every method on every workload, on the same base, with the same settings."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from relight.bench.methods import METHODS, OPTIONS, timed
from relight.bench.results import Bench, Details, Measured, Targets, targets, this_machine
from relight.bench.stage import Stage, history, measure
from relight.bench.workloads import Workload


@dataclass(frozen=True)
class Size:
    """How large the histories are; rows per table. What ``quick`` runs take says nothing about large ones."""

    rows: int
    transactions: int
    runs: int
    quick: bool = False


def run_bench(stage: Stage, workloads: Sequence[Workload], size: Size) -> Bench:
    """Measure; the stage's folder is used for everything and left as it was.

    :raises LabError: a method failed, or ended with other rows than the source.
    """
    details = {workload.name: _measure(stage, workload, size) for workload in workloads}
    measured = {name: summary(each.seconds) for name, each in details.items()}
    held: dict[str, Targets] = {n: targets(n, each, judge=not size.quick) for n, each in measured.items()}
    return Bench(machine=this_machine(stage.mysql), workloads=measured, targets=held, details=details)


def _measure(stage: Stage, workload: Workload, size: Size) -> Details:
    stage = dataclasses.replace(stage, folder=stage.folder / workload.name)
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    with history(stage, workload, rows=size.rows, transactions=size.transactions) as past:
        stage.say(f"{workload.name}: {past.log_bytes / 1e6:.1f} MB of log in {len(past.logs)} files")
        for run in range(1, size.runs + 1):
            for name in METHODS:
                stage.say(f"{workload.name}: run {run} of {size.runs}, {name} ...")
                its_own = dataclasses.replace(stage, options={**stage.options, **OPTIONS.get(name, {})})
                seconds[name].append(measure(its_own, past, name, partial(timed, name=name)))
                stage.say(f"{workload.name}: run {run} of {size.runs}, {name}: {seconds[name][-1]:.2f} s")
    return Details(
        transactions=past.transactions, log_bytes=past.log_bytes,
        seconds={name: tuple(round(one, 3) for one in each) for name, each in seconds.items()},
    )  # fmt: skip


def summary(seconds: Mapping[str, Sequence[float]]) -> Measured:
    """Medians, the better one of the server's own appliers, and the ratios. A run whose checksums differ
    ends with an error, so what is summed up here was equal."""
    middle = {name: statistics.median(each) for name, each in seconds.items()}
    applier = min(middle["applier_4"], middle["applier_8"])
    planned = middle["planned"]
    return Measured(
        pipe_s=round(middle["pipe"], 3), applier_s=round(applier, 3), ordered_s=round(middle["ordered"], 3),
        planned_s=round(planned, 3), ratio_pipe=round(middle["pipe"] / planned, 2),
        ratio_applier=round(applier / planned, 2), applier_unlogged_s=round(middle["applier_8_unlogged"], 3),
        ratio_applier_unlogged=round(middle["applier_8_unlogged"] / planned, 2), checksums_equal=True,
    )  # fmt: skip
