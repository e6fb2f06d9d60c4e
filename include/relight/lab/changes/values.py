"""Random values, as SQL literals."""

from __future__ import annotations

from random import Random

_WORDS = ("blue", "Grün", "рыба", "猫", "🦊", "O\\'Hara", "percent %", 'a "quoted" one', "back\\\\slash", "")


def text(random: Random, words: int = 3) -> str:
    """A text of some words: several scripts, quotes, backslashes, an emoji, nothing at all."""
    return "'" + " ".join(random.choices(_WORDS, k=words)) + "'"


def blob(random: Random, most: int) -> str:
    """Random bytes, up to ``most`` of them."""
    return f"x'{random.randbytes(random.randint(1, most)).hex()}'"
