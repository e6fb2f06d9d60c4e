"""What is started next: never too many, in their order, and everything ends."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from relight.incident.conducting import State, decide, runs_ahead, states_of

STATES: list[State] = ["missing", "active", "done", "failed"]


def names(count: int) -> list[str]:
    return [f"s{number:04d}" for number in range(count)]


@given(st.lists(st.sampled_from(STATES), max_size=60), st.integers(1, 20), st.integers(0, 9))
def test_never_more_than_there_is_room_for_and_none_twice(given_states: list[State], at_once: int, ahead: int) -> None:
    order = names(len(given_states))
    states = dict(zip(order, given_states, strict=True))
    decision = decide(order, states, at_once, ahead)
    active = given_states.count("active")
    assert active + len(decision.start) <= max(at_once + ahead, active)
    assert all(states[shard] == "missing" for shard in decision.start)
    missing = [shard for shard in order if states[shard] == "missing"]
    assert list(decision.start) == missing[: len(decision.start)], "the order is kept"
    assert decision.start or not missing or active >= at_once + ahead, "no room is left empty"
    assert decision.over == (not missing and not active)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**32))
def test_everything_ends_whatever_fails_and_however_long_it_takes(count: int, at_once: int, seed: int) -> None:
    chance, order = random.Random(seed), names(count)
    states: dict[str, State] = dict.fromkeys(order, "missing")
    begun: list[str] = []
    for _ in range(20 * count):
        decision = decide(order, states, at_once)
        if decision.over:
            break
        begun += decision.start
        states |= dict.fromkeys(decision.start, "active")
        assert sum(state == "active" for state in states.values()) <= at_once
        for shard in [one for one in order if states[one] == "active"]:
            if chance.random() < 0.5:
                states[shard] = chance.choice(["done", "failed"])
    assert decide(order, states, at_once).over
    assert begun == order, "each is started once, in its turn"


@given(st.integers(0, 2000), st.integers(1, 20), st.floats(0, 1e5))
def test_what_waits_in_the_queue_is_what_ends_within_two_looks(ended: int, at_once: int, elapsed: float) -> None:
    states: dict[str, State] = dict.fromkeys(names(ended), "done")
    ahead = runs_ahead(states, at_once, at_once, elapsed=elapsed, between_looks=15)
    assert 1 <= ahead <= 2 * at_once
    if elapsed >= 1 and 1 < ahead < 2 * at_once:
        assert ahead - 1 < 30 * ended / elapsed <= ahead


def test_slow_restores_have_one_run_waiting_and_fast_ones_keep_every_place_filled() -> None:
    states: dict[str, State] = {"a": "done", "b": "failed", "c": "active", "d": "missing"}
    assert runs_ahead(states, 8, 8, elapsed=3600, between_looks=15) == 1
    assert runs_ahead(states, 8, 8, elapsed=10, between_looks=15) == 6
    assert runs_ahead({}, 8, 8, elapsed=0, between_looks=15) == 1


def test_where_airflow_would_begin_it_at_once_nothing_waits_in_its_queue() -> None:
    assert runs_ahead({"a": "done"}, 8, 16, elapsed=10, between_looks=15) == 0


@given(st.lists(st.sampled_from(STATES), max_size=500))
def test_states_are_found_by_counting(given_states: list[State]) -> None:
    order = names(len(given_states))
    truth = dict(zip(order, given_states, strict=True))
    assert states_of(order, lambda shards, state: sum(truth[one] == state for one in shards)) == truth


def test_thousands_of_runs_are_read_in_few_calls() -> None:
    order = names(2000)
    truth: dict[str, State] = dict.fromkeys(order[:1200], "done")
    truth |= dict.fromkeys(order[1200:1208], "active")
    truth |= dict.fromkeys(order[1208:], "missing")
    calls = 0

    def count(shards: Sequence[str], state: State) -> int:
        nonlocal calls
        calls += 1
        return sum(truth[one] == state for one in shards)

    assert states_of(order, count) == truth
    assert calls < 100


def test_a_run_that_ends_between_two_questions_is_not_taken_for_one_that_is_missing() -> None:
    state: list[State] = ["active"]

    def count(shards: Sequence[str], asked: State) -> int:
        found = int(state[0] == asked)
        state[0] = "done"
        return found

    assert states_of(["s"], count) == {"s": "active"}
