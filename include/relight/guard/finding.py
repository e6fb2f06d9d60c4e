"""What speaks against touching a data directory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal[
    "process", "lock", "port", "socket", "client", "replica", "mount", "link", "identity", "recent write",
    "transactions", "hidden",
]  # fmt: skip
"""Words that scripts may rely on; the README says what each means."""

KINDS: tuple[Kind, ...] = get_args(Kind)

_SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """One thing that was seen, or that could not be looked at: unknown counts as alive."""

    kind: Kind
    what: str


def grouped(findings: Iterable[Finding], most: int = _SHOWN) -> Mapping[Kind, list[str]]:
    """What was seen, by kind; of each kind the first few, and how many more there are."""
    found: dict[Kind, list[str]] = {}
    for finding in findings:
        found.setdefault(finding.kind, []).append(finding.what)
    return {kind: _first(found[kind], most) for kind in KINDS if kind in found}


def counted(number: int, thing: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _first(texts: list[str], most: int) -> list[str]:
    more = len(texts) - most
    return texts[:most] + ([f"and {more:,} more"] if more > 0 else [])
