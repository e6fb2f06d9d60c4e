"""Errors: each kind says enough, survives the way to another process, and knows whether another try can help."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from relight import errors
from relight.errors import RelightError

KINDS = sorted(
    (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RelightError)),
    key=lambda kind: kind.__name__,
)

RETRYABLE = {
    "StoreUnavailable", "ServerUnreachable", "ServerBusy", "LaneBlocked", "AnnounceUnavailable", "AirflowUnavailable",
}  # fmt: skip
"""Only what can pass by itself. A corrupt backup stays corrupt however often it is read."""


def fail(kind: type[RelightError]) -> None:
    raise kind("what", on="on", why="why", hint="hint")


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_loses_nothing_on_the_way_to_another_process(kind: type[RelightError]) -> None:
    error = kind("it failed", on="shard-1", why="the disk is full", hint="make room")
    for arrived in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(arrived) is kind
        assert (arrived.what, arrived.on, arrived.why, arrived.hint) == (error.what, error.on, error.why, error.hint)
        assert str(arrived) == str(error)
        assert arrived.retryable is error.retryable


def test_an_error_raised_in_another_process_arrives_as_what_it_is() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        job = pool.submit(fail, errors.LaneBlocked)
        with pytest.raises(errors.LaneBlocked, match=r"what \(on\): why"):
            job.result()


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_can_pass_by_itself_is_worth_another_try(kind: type[RelightError]) -> None:
    assert kind.retryable == (kind.__name__ in RETRYABLE)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({}, "it failed"),
        ({"on": "shard-1"}, "it failed (shard-1)"),
        ({"why": "no room"}, "it failed: no room"),
        ({"on": "shard-1", "why": "no room"}, "it failed (shard-1): no room"),
        ({"on": "shard-1", "why": "no room", "hint": "make some"}, "it failed (shard-1): no room"),
    ],
)
def test_a_message_says_what_failed_on_what_and_why(parts: dict[str, str], text: str) -> None:
    assert str(RelightError("it failed", **parts)) == text


def test_a_hint_is_on_the_same_line_where_it_is_asked_for() -> None:
    assert RelightError("it failed", hint="make room").with_hint() == "it failed -- make room"
    assert RelightError("it failed").with_hint() == "it failed"


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        name = line.lstrip(" |-`").split(" ")[0]
        if name in {kind.__name__ for kind in KINDS}:
            drawn.append((line.index(name), name))
    assert sorted(name for _, name in drawn) == [kind.__name__ for kind in KINDS]
    above: list[tuple[int, str]] = []
    for depth, name in drawn:
        above = [one for one in above if one[0] < depth]
        bases = [base.__name__ for base in vars(errors)[name].__bases__]
        assert bases == [above[-1][1] if above else "Exception"], name
        above.append((depth, name))
