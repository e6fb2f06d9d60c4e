"""Structure: every object is defined as it was in the snapshot, unless a statement of the log names it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from relight.backups.manifest import Definition

_Name = tuple[str, str, str]
_IDENTIFIER = re.compile(r"`([^`]+)`")
_REFERRED = re.compile(r"\b(?:REFERENCES|ON) (`[^`]+`(?:\.`[^`]+`)?)", re.IGNORECASE)
"""The table that a foreign key or a trigger belongs to."""


@dataclass(frozen=True)
class Structure:
    """How many definitions were compared, what differs, and which were not compared since the log changed them."""

    compared: int
    findings: tuple[str, ...]
    changed: tuple[str, ...]

    @property
    def notes(self) -> list[str]:
        """What was not compared, in a sentence."""
        return ["not compared, changed by statements of the log: " + ", ".join(self.changed)] if self.changed else []


def compare_definitions(
    expected: Iterable[Definition], found: Iterable[Definition], words: Collection[str]
) -> Structure:  # fmt: skip
    """Pure. ``words``: those of the statements that changed definitions, in small letters. What is named by one of
    them, or depends on what is, may have been changed, made or dropped by it."""
    before = {_name(one): one for one in expected}
    after = {_name(one): one for one in found}
    findings, changed = [], []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        wrong = _what_is_wrong(old, new)
        if _named(old or after[name], words) or (wrong and _depends(old or after[name], new, words)):
            changed.append(_title(old or after[name]))
        elif wrong:
            findings.append(f"{_title(old or after[name])} {wrong}")
    return Structure(len({*before, *after}) - len(changed), tuple(findings), tuple(changed))


def _title(one: Definition) -> str:
    return f"{one.kind} {one.full_name}"


def _what_is_wrong(old: Definition | None, new: Definition | None) -> str:
    if new is None:
        return "is missing"
    if old is None:
        return "was not in the snapshot, and no statement of the log made it"
    return "" if old.text == new.text else _difference(old, new)


def _depends(one: Definition, new: Definition | None, words: Collection[str]) -> bool:
    """Whether what is wrong with an object follows from a statement about another: its database or its trigger's
    table was dropped, or what it refers to was renamed."""
    if new is None and one.database.lower() in words and "drop" in words and ("database" in words or "schema" in words):
        return True
    text = "\n".join(_other_lines(one.text, new.text)) if new else one.text
    return any(name.lower() in words for found in _REFERRED.findall(text) for name in _IDENTIFIER.findall(found))


def _other_lines(one: str, other: str) -> list[str]:
    return sorted(set(_lines(one)) ^ set(_lines(other)))


def _name(definition: Definition) -> _Name:
    return definition.kind, definition.database, definition.name


def _named(definition: Definition, words: Collection[str]) -> bool:
    if definition.kind == "database" and not {"database", "schema"} & set(words):
        return False  # every statement about something inside names it
    name = definition.name.partition("@")[0] if definition.kind == "account" else definition.name
    return name.lower() in words


def _difference(before: Definition, after: Definition) -> str:
    """The first line that is another one."""
    if before.kind == "account":
        return "has another password, other attributes or other grants"
    ours, theirs = _lines(before.text), _lines(after.text)
    gone = [line for line in ours if line not in theirs]
    new = [line for line in theirs if line not in ours]
    parts = [f"lacks: {line}" for line in gone[:1]] + [f"has instead: {line}" for line in new[:1]]
    return "; ".join(parts) or "has its parts in another order"


def _lines(text: str) -> list[str]:
    return [line.strip().removesuffix(",") for line in text.splitlines()]
