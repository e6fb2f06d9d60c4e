"""What the time of each step depends on, and what is assumed as long as nothing was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from relight.backups.manifest import Value
from relight.forecast.values import Load

BETWEEN: Final = "between"
"""Not a step: the time from the end of each step to the beginning of the next, which the scheduler takes."""

BESIDE: Final = ("split", "replay")
"""These run side by side, and what follows waits for both."""

FIRST: Final = "replica_first"
"""Step ``replica`` for those replicas that a shard has to have before it is opened."""

AFTERWARDS: Final = "replica"
"""The same for the replicas of a shard that takes writes already."""

COPIES: Final = (FIRST, AFTERWARDS)

IN_ORDER: Final = (
    "salvage", "plan", "guard", "restore", "lanes", *BESIDE, "validate", "judge", "certify", "prepare", FIRST,
    "promote",
)  # fmt: skip
"""The steps until a shard takes writes again, as in :mod:`relight.recover`."""

FORESEEN: Final = (*IN_ORDER, BETWEEN, AFTERWARDS)
"""Everything that is forecast. A rehearsal's sabotage and clearing away are no part of a restore."""


class Curve(Value):
    """Seconds as a straight line over the work: never less for more of it."""

    fixed: float
    per_unit: float

    def seconds(self, work: float) -> float:
        """For that much work."""
        return self.fixed + self.per_unit * work


def _nothing(_: Load) -> float:
    return 0.0


def _segments(load: Load) -> float:
    return float(load.segments)


def _data(load: Load) -> float:
    return float(load.data_bytes)


def _log(load: Load) -> float:
    return float(load.log_bytes)


def _all(load: Load) -> float:
    return float(load.data_bytes + load.log_bytes)


def _first_copies(load: Load) -> float:
    return float(load.data_bytes * load.replicas_first)


def _later_copies(load: Load) -> float:
    return float(load.data_bytes * (load.replicas - load.replicas_first))


WORK: Final[Mapping[str, Callable[[Load], float]]] = {
    "salvage": _nothing, "plan": _segments, "guard": _nothing, "restore": _data, "lanes": _segments, "split": _log,
    "replay": _log, "validate": _all, "judge": _nothing, "certify": _nothing, "prepare": _nothing, FIRST: _first_copies,
    "promote": _nothing, BETWEEN: _nothing, AFTERWARDS: _later_copies,
}  # fmt: skip
"""How much work a step has with a load: bytes or segments; 0 where the time does not depend on the load."""

_MB = 1e6

ASSUMED: Final[Mapping[str, Curve]] = {
    "salvage": Curve(fixed=5, per_unit=0), "plan": Curve(fixed=2, per_unit=0.02), "guard": Curve(fixed=2, per_unit=0),
    "restore": Curve(fixed=15, per_unit=1 / (50 * _MB)), "lanes": Curve(fixed=2, per_unit=0.01),
    "split": Curve(fixed=2, per_unit=1 / (40 * _MB)), "replay": Curve(fixed=5, per_unit=1 / (20 * _MB)),
    "validate": Curve(fixed=10, per_unit=1 / (30 * _MB)), "judge": Curve(fixed=5, per_unit=0),
    "certify": Curve(fixed=3, per_unit=0), "prepare": Curve(fixed=12, per_unit=0),
    FIRST: Curve(fixed=30, per_unit=1 / (40 * _MB)), "promote": Curve(fixed=5, per_unit=0),
    BETWEEN: Curve(fixed=30, per_unit=0), AFTERWARDS: Curve(fixed=30, per_unit=1 / (40 * _MB)),
}  # fmt: skip
"""Used until something was measured. Replay is taken at half of the slowest speed in the README's table of measurements
(763 MB in 18.7 s, all tables in order); the rest was chosen to be cautious, and was not measured on anybody's fleet."""
