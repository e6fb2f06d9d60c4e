"""What a measurement found, as it is written to files and read from them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from relight.backups.manifest import Value
from relight.errors import LabError
from relight.lab.mysql import MySQL

TARGETS: Mapping[str, tuple[float, float]] = {
    "skewed": (40, 10), "uniform": (20, 5), "one_database": (25, 6), "mix": (10, 3),
}  # fmt: skip
"""How often faster Relight as planned is meant to be than the pipe, and than the server's own applier."""


class Machine(Value):
    """What it was measured on."""

    cpu: str
    cores: int
    memory_bytes: int
    mysql: str

    @property
    def text(self) -> str:
        """On one line."""
        return f"{self.cpu}, {self.cores} cores, {self.memory_bytes / 2**30:.0f} GiB of memory, MySQL {self.mysql}"


class Measured(Value):
    """Seconds (medians) of one workload, and how often faster Relight as planned was than the others.

    ``applier``: the better of 4 and 8 workers; ``applier_unlogged``: with 8, and told not to log what it applies.
    """

    pipe_s: float
    applier_s: float
    ordered_s: float
    planned_s: float
    ratio_pipe: float
    ratio_applier: float
    applier_unlogged_s: float
    ratio_applier_unlogged: float
    checksums_equal: bool


class Targets(Value):
    """What the ratios are meant to be; ``met`` is left open where the workload was a small one."""

    pipe: float
    applier: float
    met: bool | None


class Details(Value):
    """What the medians were made of."""

    transactions: int
    log_bytes: int
    seconds: dict[str, tuple[float, ...]]


class Bench(Value):
    """A whole run."""

    machine: Machine
    workloads: dict[str, Measured]
    targets: dict[str, Targets]
    details: dict[str, Details]


def this_machine(mysql: MySQL) -> Machine:
    """The machine that this runs on."""
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return Machine(
        cpu=found[1].strip() if found else os.uname().machine, cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), mysql=mysql.text,
    )  # fmt: skip


def targets(name: str, measured: Measured, *, judge: bool) -> Targets:
    """The targets of a workload, held against what was measured."""
    pipe, applier = TARGETS[name]
    met = measured.ratio_pipe >= pipe and measured.ratio_applier >= applier
    return Targets(pipe=pipe, applier=applier, met=met if judge else None)


def save(bench: Bench, path: Path) -> None:
    """Write a run to a file. :raises LabError: it cannot be written."""
    try:
        path.write_text(bench.model_dump_json(indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise LabError("the result cannot be written", on=str(path), why=str(error)) from None


def load(paths: Sequence[Path]) -> Bench:
    """The workloads of several files in one; of a workload that is in more than one, the last counts.

    :raises LabError: a file is none of a run, or they were measured on different machines.
    """
    benches = [_load(path) for path in paths]
    for path, bench in zip(paths, benches, strict=True):
        if bench.machine.text != benches[0].machine.text:
            raise LabError(
                "measured on different machines", on=f"{paths[0]}, {path}",
                why=f"{benches[0].machine.text}; {bench.machine.text}", hint="show them one by one",
            )  # fmt: skip
    return Bench(
        machine=benches[0].machine, workloads={k: v for b in benches for k, v in b.workloads.items()},
        targets={k: v for b in benches for k, v in b.targets.items()},
        details={k: v for b in benches for k, v in b.details.items()},
    )  # fmt: skip


def _load(path: Path) -> Bench:
    try:
        return Bench.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LabError("the result cannot be read", on=str(path), why=str(error)) from None
    except (ValidationError, UnicodeDecodeError):
        raise LabError("not a result of relight bench replay", on=str(path), hint="--save writes such files") from None
