"""Nothing depends on the machine's zone, and what is named after a moment has its name for itself."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from relight.incident.naming import fresh_name, incident_id

PROJECT = Path(__file__).resolve().parents[1]
SOURCES = [path for folder in ("include", "plugins", "dags", "tests") for path in (PROJECT / folder).rglob("*.py")]

LOCAL = {"localtime", "mktime", "ctime", "strftime"}
"""Of module ``time``: all are in the machine's zone. What ruff's DTZ rules find is not looked for again."""


def _in_local_time(source: str) -> list[int]:
    """The lines that ask for it. Where the module is not imported, ``time`` is a moment, whose zone it knows."""
    nodes = list(ast.walk(ast.parse(source)))
    module = any(isinstance(node, ast.Import) and "time" in {name.name for name in node.names} for node in nodes)
    found = []
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            # Of a moment without a zone astimezone() takes the machine's; without an argument it gives the machine's.
            bare = node.func.attr == "astimezone" and not node.args and not node.keywords
            asked = module and node.func.attr in LOCAL and ast.unparse(node.func.value) == "time"
            found += [node.lineno] if bare or asked else []
    return found


def test_nobody_asks_for_the_time_of_the_machines_zone() -> None:
    lines = {path: _in_local_time(path.read_text(encoding="utf-8")) for path in SOURCES}
    assert {path: found for path, found in lines.items() if found} == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time\ntime.localtime()", [2]),
        ("import time\ntime.strftime('%F')", [2]),
        ("def text(time):\n    return time.strftime('%F')", []),
        ("when.astimezone()", [1]),
        ("when.astimezone(UTC)", []),
    ],
)
def test_the_test_before_finds_what_it_says(source: str, found: list[int]) -> None:
    assert _in_local_time(source) == found


TO_THE_SECOND = {
    "include/relight/store/layout.py",  # a full backup: its server is copied once at a time, which takes seconds
    "include/relight/incident/naming.py",  # with random digits behind
}


def test_no_two_things_of_one_second_have_the_same_name() -> None:
    found = {
        path.relative_to(PROJECT).as_posix()
        for path in SOURCES
        if path.relative_to(PROJECT).parts[0] in ("include", "plugins")
        and re.search(r"%Y%m%dT%H%M%S(?!%f)", path.read_text(encoding="utf-8"))
    }
    assert found <= TO_THE_SECOND


def test_two_people_who_give_no_name_in_the_same_second_get_two() -> None:
    names = {fresh_name("cli") for _ in range(50)}
    assert len(names) == 50
    assert {incident_id(name) for name in names} == names, "it can name an incident"
