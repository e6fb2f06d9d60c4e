"""Who has to agree before a shard is opened, by the policy of its tier."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest

from relight.certificate.approval import asked, lacking, needed
from relight.fleet import Approval


@pytest.mark.parametrize(
    ("policy", "doubts", "named", "expected"),
    [
        ("never", True, False, False),
        ("on_inconclusive", False, False, False),
        ("on_inconclusive", True, False, True),
        ("on_inconclusive", True, True, False),
        ("always", False, False, True),
        ("always", False, True, True),
    ],
)
def test_a_person_is_asked_where_the_policy_says_so(
    policy: Approval, doubts: bool, named: bool, expected: bool
) -> None:
    assert asked(policy, doubts=doubts, named=named) is expected


def test_nothing_is_opened_without_a_name_that_is_needed_and_a_doubt_always_needs_one() -> None:
    for policy, doubts in itertools.product(get_args(Approval), (False, True)):
        wanting = lacking(policy, doubts=doubts, approved_by=" ", reason="seen")
        assert bool(wanting) == needed(policy, doubts=doubts) == (doubts or policy == "always")
        assert not lacking(policy, doubts=doubts, approved_by="Ada", reason="seen")


@pytest.mark.parametrize("policy", get_args(Approval))
def test_a_name_without_a_reason_is_no_approval(policy: Approval) -> None:
    assert lacking(policy, doubts=False, approved_by="Ada", reason=" ") == "the approval has no reason"
