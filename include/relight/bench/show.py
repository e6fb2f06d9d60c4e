"""Results of measurements as people read them."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table

from relight.bench.foreseeing import Foreseeing
from relight.bench.growth import Memory, Scale, Step
from relight.bench.results import Bench, Details, Targets

_MIB = 2**20


def show_bench(console: Console, bench: Bench) -> None:
    """The table of ``relight bench replay``, and what it rests on."""
    table = _table(
        "workload", "log MB", "transactions", "mysqlbinlog | mysql", "parallel applier", "applier, unlogged",
        "Relight ordered", "Relight as planned", "against pipe", "against applier", "unlogged", "targets",
    )  # fmt: skip
    for name, m in bench.workloads.items():
        details, targets = bench.details[name], bench.targets[name]
        times = (f"{value:.2f} s" for value in (m.pipe_s, m.applier_s, m.applier_unlogged_s, m.ordered_s, m.planned_s))
        table.add_row(
            name, f"{details.log_bytes / 1e6:.0f}", f"{details.transactions:,}", *times,
            f"{m.ratio_pipe:.1f} x (of {targets.pipe:g} x)", f"{m.ratio_applier:.1f} x (of {targets.applier:g} x)",
            f"{m.ratio_applier_unlogged:.1f} x", _verdict(targets),
        )  # fmt: skip
    console.print(table)
    for line in _lines(bench):
        console.print(line)


def _verdict(targets: Targets) -> str:
    return {True: "met", False: "not met", None: "too small to tell"}[targets.met]


def _lines(bench: Bench) -> Iterator[str]:
    if all(m.checksums_equal for m in bench.workloads.values()):
        yield "checksums equal"
    for name, details in bench.details.items():
        yield f"{name}: {_runs(details)}"
    yield bench.machine.text


def _runs(details: Details) -> str:
    """Of how many runs the seconds are the medians, and how many workers served the server's applier better."""
    runs = min(map(len, details.seconds.values()))
    few, many = (sorted(details.seconds[name])[runs // 2] for name in ("applier_4", "applier_8"))
    workers = f"parallel applier with {4 if few <= many else 8} workers"
    return (f"medians of {runs} runs, " if runs > 1 else "one run, ") + workers


def show_scale(console: Console, scale: Scale) -> None:
    """The table of ``relight bench scale``."""
    console.print(_steps(scale.steps))
    first, last = scale.steps[0], scale.steps[-1]
    console.print(
        f"{last.log_bytes / first.log_bytes:.1f} x the log: {last.seconds / first.seconds:.1f} x the seconds,"
        f" {last.together_bytes / first.together_bytes:.1f} x the memory"
    )
    console.print(f"checksums equal\n{scale.workload}, {scale.machine.text}")


def show_memory(console: Console, memory: Memory) -> None:
    """The table of ``relight bench memory``."""
    console.print(_steps((memory.step,)))
    stayed = "stayed" if memory.stayed_under else "did not stay"
    console.print(f"memory {stayed} under {memory.limit_bytes / _MIB:.0f} MiB, all processes together")
    console.print(f"checksums equal\n{memory.machine.text}")


def show_foreseeing(console: Console, found: Foreseeing) -> None:
    """The table of ``relight bench forecast``."""
    table = _table(
        "shards", "log files each", "plans", "forecasts", "simulations", "together", "of it on the processor"
    )
    seconds = (found.plan_s, found.estimate_s, found.simulate_s, found.total_s)
    table.add_row(
        f"{found.shards:,}", f"{found.segments:,}", *(f"{value:.2f} s" for value in seconds),
        f"{found.processor_s:.2f} s",
    )  # fmt: skip
    console.print(table)


def _steps(steps: tuple[Step, ...]) -> Table:
    table = _table(
        "transactions", "log MB", "seconds", "seconds per 100 MB", "peak memory, largest process",
        "peak memory, all together",
    )  # fmt: skip
    for step in steps:
        table.add_row(
            f"{step.transactions:,}", f"{step.log_bytes / 1e6:,.1f}", f"{step.seconds:.2f}",
            f"{step.seconds_per_100_mb:.2f}", f"{step.largest_process_bytes / _MIB:.0f} MiB",
            f"{step.together_bytes / _MIB:.0f} MiB",
        )  # fmt: skip
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(first, box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in others:
        table.add_column(heading, justify="right")
    return table
