"""Two runs never share folders and objects because their ids look alike as names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.planning.target import Target
from relight.site import Run


def run(run_id: str) -> Run:
    return Run(run_id=run_id, shard="shard-1", target=Target(kind="latest"))


@pytest.mark.parametrize(("one", "other"), [
    ("INC:1", "INC+1"), ("INC:1", "INC-1"), ("manual__2026-11-22T19:02:11+00:00", "manual__2026-11-22T19-02-11-00-00"),
    ("x" * 200, "x" * 201), ("x" * 300 + "a", "x" * 300 + "b"), ("größe", "gr-ße"), ("a b", "a\tb"), (".", ".."), ("a/b", "a-b"),
])  # fmt: skip
def test_ids_that_become_equal_as_names_do_not_share_a_run(one: str, other: str) -> None:
    assert run(one).folder_key != run(other).folder_key


@given(st.text(max_size=400), st.text(max_size=400))
def test_ids_that_differ_have_names_that_differ_and_can_be_used(one: str, other: str) -> None:
    names = run(one).run_id, run(other).run_id
    assert (names[0] == names[1]) == (one == other)
    for name in names:
        assert name.strip(".")
        assert len(name) <= 200
        assert all(c.isascii() and (c.isalnum() or c in "-_.") for c in name)


def test_a_run_that_is_handed_on_keeps_its_name() -> None:
    once = run("manual__2026-11-22T19:02:11+00:00")
    assert Run.model_validate_json(once.model_dump_json()) == once
    assert run("cli-20261122T190211Z").run_id == "cli-20261122T190211Z"
