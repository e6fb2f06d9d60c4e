"""What to start next. Pure: Airflow is asked and told elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from relight.backups.manifest import Value

State = Literal["missing", "active", "done", "failed"]
"""Of the run of a shard: not there; queued or running; ended well; ended otherwise."""

Count = Callable[[Sequence[str], State], int]
"""How many of these shards have a run in that state; ``missing`` is never asked."""

PORTION = 200
"""So many shards are asked for at once: their names travel in an address, whose length is limited."""


class Decision(Value):
    """What follows from the states of all runs."""

    start: tuple[str, ...]
    over: bool
    """Every shard has a run, and all of these have ended."""


def decide(order: Sequence[str], states: Mapping[str, State], at_once: int, ahead: int = 0) -> Decision:
    """The next shards in the order, as many as there is room for beside the runs that are active, and ``ahead`` more.

    A run that has failed keeps nobody waiting, and is not started again: clearing it is a person's decision.
    """
    active = sum(states[shard] == "active" for shard in order)
    missing = [shard for shard in order if states[shard] == "missing"]
    return Decision(start=tuple(missing[: max(at_once + ahead - active, 0)]), over=not missing and not active)


def runs_ahead(
    states: Mapping[str, State], at_once: int, admitted: int, *, elapsed: float, between_looks: float
) -> int:
    """How many runs should wait in Airflow's own queue, so that no place of ``at_once`` is empty until the next look.

    As many as end within two looks, going by how many have ended in ``elapsed`` seconds; so whoever restores a shard by
    hand meanwhile waits about that long behind them. At least one, at most twice ``at_once``.

    :param admitted: how many runs Airflow goes on with at the same time. If these are more than ``at_once``, none may
        wait there: it would be begun.
    """
    if admitted > at_once:
        return 0
    ended = sum(state in ("done", "failed") for state in states.values())
    return min(max(math.ceil(2 * between_looks * ended / max(elapsed, 1.0)), 1), 2 * at_once)


_ASKED: tuple[State, ...] = ("active", "done", "failed")
"""In the order that a run goes through: one that ends between two questions is not overlooked."""


def states_of(shards: Sequence[str], count: Count) -> dict[str, State]:
    """The state of every shard's run, from questions how many of some shards are in a state.

    Whole portions are mostly in the same state, as runs are started in order. So few questions are enough.
    """
    found: dict[str, State] = {}
    for begin in range(0, len(shards), PORTION):
        found |= _sort_out(shards[begin : begin + PORTION], count)
    return found


def _sort_out(shards: Sequence[str], count: Count, among: Sequence[State] = _ASKED) -> dict[str, State]:
    there = []
    for state in among:
        how_many = count(shards, state)
        if how_many == len(shards):
            return dict.fromkeys(shards, state)
        there += [state] if how_many else []
    if not there:
        return dict.fromkeys(shards, "missing")
    middle = len(shards) // 2
    return _sort_out(shards[:middle], count, there) | _sort_out(shards[middle:], count, there)
