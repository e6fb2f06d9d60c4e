"""Durations as people say them."""

from __future__ import annotations

import pytest

from relight.overview.words import duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.6, "1 min"), (61, "1 min 1 s"), (7800, "2 h 10 min"), (3600, "1 h"), (86400, "1 day"),
     (3605, "1 h"), (2 * 86400 + 7200, "2 days 2 h")],
)  # fmt: skip
def test_the_two_largest_units_are_said(seconds: float, words: str) -> None:
    assert duration(seconds) == words
