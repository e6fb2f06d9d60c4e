"""What the state of a shard is called, and which is the most urgent: the one place for pages, commands and logs.

A shard's health says how well it could be brought back. That it is down, or being brought back, is more urgent still.
"""

from __future__ import annotations

from typing import Final, Literal

Health = Literal["good", "warning", "bad", "unknown"]
State = Literal["down", "restoring", "good", "warning", "bad", "unknown"]

WORDS: Final[dict[State, str]] = {
    "down": "down", "restoring": "being restored", "bad": "at risk", "unknown": "not seen", "warning": "attention",
    "good": "ready",
}  # fmt: skip
"""What people read, the most urgent first. The names are what JSON and metrics carry."""

NOW: Final[tuple[State, ...]] = ("down", "restoring")
"""How it is at this moment; the others are its health."""

WORST_FIRST: Final[tuple[State, ...]] = tuple(WORDS)


def urgency(state: State) -> int:
    """0 is looked at first."""
    return WORST_FIRST.index(state)


def meant(text: str) -> State | None:
    """The state that somebody means, by its word or its name; None where there is none such."""
    wanted = text.strip().lower().replace("-", " ")
    return next((state for state, word in WORDS.items() if wanted in (word, state)), None)
