"""Reads the fleet file, and says what is wrong with one in words that need no knowledge of how it is read."""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from relight.errors import FleetError
from relight.fleet import Fleet

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def load_fleet(path: Path) -> Fleet:
    """Read and check a fleet file. FleetError lists every mistake with its place in the file."""
    try:
        document = _parsed(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FleetError("no fleet file", on=str(path), hint="name it with --fleet or RELIGHT_FLEET") from None
    except yaml.YAMLError as error:
        raise FleetError(
            "fleet file is not YAML", on=str(path), why=_where_not_yaml(error),
            hint="look at that line and at the one above it",
        ) from None  # fmt: skip
    except (OSError, UnicodeDecodeError) as error:
        raise FleetError("fleet file cannot be read", on=str(path), why=" ".join(str(error).split())) from None
    if not isinstance(document, dict):
        raise FleetError("fleet file is not a mapping", on=str(path), hint="see fleet.example.yaml in the README")
    try:
        return Fleet.model_validate(document)
    except ValidationError as error:
        lines = [_mistake(one) for one in error.errors()]
        raise FleetError(
            f"fleet file has {len(lines)} mistake{'s' if len(lines) > 1 else ''}", on=str(path),
            why="; ".join(lines), hint="the README's page 'On your own fleet' describes every field",
        ) from None  # fmt: skip


def _mistake(error: ErrorDetails) -> str:
    """One mistake, in words that need no knowledge of how the file is read."""
    place, kind, given = error["loc"], error["type"], error["input"]
    text = error["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        known = _fields_at(place[:-1])
        near = get_close_matches(str(place[-1]), known, n=1)
        text = f"there is no such setting; did you mean {near[0]}?" if near else "there is no such setting"
    elif kind == "missing":
        text = "is missing"
    elif kind in ("literal_error", "union_tag_invalid"):
        wanted = error.get("ctx", {}).get("expected") or error.get("ctx", {}).get("expected_tags") or ""
        given = error.get("ctx", {}).get("tag", given)  # of a union what decides which of them is meant
        near = get_close_matches(str(given), re.findall(r"'([^']*)'", str(wanted)), n=1)
        text = f"must be {wanted}, not {str(given)[:40]!r}" + (f"; did you mean {near[0]}?" if near else "")
    elif isinstance(given, str | int | float | bool) and kind != "value_error":
        text = f"{text[0].lower()}{text[1:]}, not {str(given)[:40]!r}"
    return f"{_place(place)}: {text}"


def _fields_at(place: tuple[int | str, ...]) -> list[str]:
    """The settings that there are at a place of the file."""
    model: Any = Fleet
    for step in place:
        if isinstance(step, int):
            continue
        inner = getattr(model, "model_fields", {}).get(step)
        if inner is None:  # the tag of a union, such as the kind of an announcement
            tagged = [one for one in _models_in(model) if step in _tags_of(one)]
            model = tagged[0] if tagged else model
        else:
            found = _models_in(inner.annotation)
            model = found[0] if len(found) == 1 else inner.annotation
    return [name for one in _models_in(model) for name in one.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for one in get_args(annotation) for model in _models_in(one)]


def _tags_of(model: type[BaseModel]) -> tuple[object, ...]:
    kind = model.model_fields.get("kind")
    return get_args(kind.annotation) if kind is not None else ()


def _where_not_yaml(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "it cannot be read"
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else " ".join(str(error).split())


def _parsed(text: str) -> Any:
    """YAML; or JSON, which is YAML too and read ten times faster: every task reads the file."""
    if text.startswith("{"):
        try:
            return json.loads(text)
        except ValueError:
            pass  # YAML may begin like that as well
    # The parser of libyaml, where there is one, takes a tenth of the time.
    return yaml.load(text, yaml.CSafeLoader) if yaml.__with_libyaml__ else yaml.safe_load(text)


def _place(location: tuple[int | str, ...]) -> str:
    text = ""
    for item in location:
        text += f"[{item}]" if isinstance(item, int) else f".{item}" if text else item
    return text or "the file"
