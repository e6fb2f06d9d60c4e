"""Structure: every object is defined as it was in the snapshot, or as the statements of the log have made it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from relight.backups.manifest import Definition
from relight.verify.witness import Witnessed

_Name = tuple[str, str, str]
_IDENTIFIER = re.compile(r"`([^`]+)`")
_REFERRED = re.compile(r"\b(?:REFERENCES|ON) (`[^`]+`(?:\.`[^`]+`)?)", re.IGNORECASE)
"""The table that a foreign key or a trigger belongs to."""


@dataclass(frozen=True)
class Structure:
    """How many definitions were compared, what differs, and of which nobody can tell what the log made of
    them."""

    compared: int
    findings: tuple[str, ...]
    unknown: tuple[str, ...]
    unseen: tuple[str, ...] = ()
    """In words: what the server cannot show, now or when the snapshot was taken."""

    @property
    def notes(self) -> list[str]:
        """What was not compared, in a sentence."""
        return (
            ["not compared, changed by the log in a way that cannot be told: " + ", ".join(self.unknown)]
            if self.unknown
            else []
        )


def compare_definitions(
    expected: Iterable[Definition], found: Iterable[Definition], words: Collection[str],
    witness: Witnessed | None = None,
) -> Structure:  # fmt: skip
    """Pure. ``words``: those of the statements that changed definitions, in small letters. What is named by one of
    them, or depends on what is, may have been changed, made or dropped by it; only the ``witness`` can tell."""
    before = {_name(one): one for one in expected}
    after = {_name(one): one for one in found}
    told = {_name(one): one for one in witness.definitions} if witness else {}
    findings, unknown, unseen = [], [], []
    names = sorted({*before, *after, *told})
    for name in names:
        old, new = before.get(name), after.get(name)
        one = old or new or told[name]
        if old and new and not (old.text and new.text):
            unseen.append(f"the server cannot show how {_title(one)} is defined")
            continue
        wrong = _what_is_wrong(old, new) if old or new else ""
        if _named(one, words) or (wrong and _depends(one, new, words)) or not (old or new):
            if witness is None or _named(one, witness.doubtful) or _depends(one, new, witness.doubtful):
                unknown.append(_title(one))
                continue
            wrong = _what_is_wrong(told.get(name), new, made="is there, and what the log says leaves none")
        if wrong:
            findings.append(f"{_title(one)} {wrong}")
    return Structure(len(names) - len(unknown) - len(unseen), tuple(findings), tuple(unknown), tuple(unseen))


def _title(one: Definition) -> str:
    return f"{one.kind} {one.full_name}"


def _what_is_wrong(
    old: Definition | None, new: Definition | None, *,
    made: str = "was not in the snapshot, and no statement of the log made it",
) -> str:  # fmt: skip
    if new is None:
        return "is missing" if old else ""
    if old is None:
        return made
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
