"""Imports go one way. The rule is the table below; an arrow that is not in it, and one that nothing uses, fail."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
LIBRARY = PROJECT / "include" / "relight"

ANYTHING = {path.stem for path in LIBRARY.iterdir() if path.suffix == ".py" or path.is_dir()} - {"__init__", "cli"}

ALLOWED: dict[str, set[str]] = {
    # Values: they know nothing but how to go wrong.
    "errors": set(),
    "progress": set(),
    "gtid": {"errors"},
    "keys": set(),
    "durable": set(),
    "beneath": {"errors"},
    "reading": {"errors"},
    "host": set(),
    "sabotage": {"backups"},
    "fleet": {"errors", "keys", "host", "announcing"},
    "fleet_file": {"errors", "fleet"},
    "operating_system": {"errors"},
    "credentials": {"errors"},
    "accounting": {"backups"},
    "site": {"errors", "gtid", "fleet", "credentials", "progress", "sabotage", "store", "backups", "planning", "announcing"},
    "run_files": {"errors", "accounting", "backups", "reading"},
    # What is in the store, and what to make of it.
    "backups": {"binlog", "durable", "errors", "fencing", "gtid", "planning", "reading", "store"},
    "planning": {"backups", "errors", "gtid", "reading", "site", "store"},
    # What is known of a rebuilt server, signed.
    "certificate": {"errors", "fleet", "credentials", "keys", "run_files", "backups"},
    # Machinery: each for itself.
    "store": {"durable", "errors", "fleet", "credentials"},
    "binlog": {"errors", "gtid"},
    "server": {"errors", "gtid", "fleet", "credentials", "backups", "durable", "reading"},
    "guard": {"errors", "gtid", "fleet", "binlog", "server", "durable"},
    "lane": {"durable", "errors", "gtid", "fleet", "credentials", "accounting", "backups", "binlog", "server", "run_files"},
    "fencing": {"backups", "certificate", "credentials", "errors", "fleet", "gtid", "host", "reading", "server", "store"},
    # Where applications find a shard.
    "announcing": {"errors", "credentials", "host", "backups", "server", "durable", "reading"},
    # Airflow, from outside.
    "airflow_api": {"errors", "gtid", "credentials", "backups", "planning", "incident"},
    # Steps, and the story that they make.
    "proof": {"errors", "site", "run_files", "server", "certificate", "store"},
    "promotion": {"errors", "gtid", "fleet", "site", "server", "fencing"},
    "outdated": {"errors", "gtid", "site", "backups", "planning", "fencing", "server", "store"},
    "verify": {"errors", "accounting", "backups", "binlog", "lane", "run_files", "server"},
    "step_records": {"backups", "errors", "reading", "site", "store"},
    "reporting": {"backups", "errors", "fleet", "forecast", "incident", "overview", "planning", "reading", "rehearsal",
              "run_files", "sabotage", "site", "step_records", "store"},
    "forecast": {"backups", "errors", "fleet", "planning", "reading", "site", "step_records", "store"},
    "overview": {"backups", "errors", "fencing", "fleet", "forecast", "gtid", "incident", "planning", "reading", "rehearsal", "site", "store"},
    "incident": {"backups", "errors", "fleet", "forecast", "planning", "reading", "site", "store"},
    "salvaging": {"backups", "binlog", "durable", "errors", "gtid", "guard", "server"},
    "unpacking": {"backups", "beneath", "errors", "progress", "store"},
    "checks": {"accounting", "backups", "durable", "errors", "gtid", "lane", "planning", "reading", "run_files", "server", "site", "verify"},
    "rehearsal": {"backups", "binlog", "credentials", "errors", "fleet", "lane", "reading", "run_files", "sabotage", "server", "store", "verify"},
    "steps": {"announcing", "backups", "certificate", "checks", "credentials", "durable", "errors", "fencing",
              "fleet", "forecast", "gtid", "guard", "lane", "operating_system", "outdated", "overview", "planning", "promotion",
              "proof", "reading", "rehearsal", "reporting", "run_files", "sabotage", "salvaging", "server", "site",
              "splitting", "step_records", "store", "unpacking"},
    "splitting": {"backups", "binlog", "durable", "errors", "gtid", "lane", "planning", "run_files", "site"},
    "recover": {"errors", "fleet", "site", "steps"},
    # Apart.
    "bench": {"errors", "gtid", "fleet", "credentials", "run_files", "backups", "lane", "server", "lab", "planning", "forecast",
              "store"},
    "lab": ANYTHING,
    "cli": ANYTHING,
}  # fmt: skip
"""Which part of the library may import which others. Single modules are called by their name, packages by theirs."""

SHARED_BY_STEPS = "relight.steps.stepping"


@dataclass(frozen=True)
class Import:
    """One imported module or name, dotted, and where that is written."""

    file: Path
    line: int
    name: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(PROJECT)}:{self.line} imports {self.name}"


def imports_of(file: Path, package: str = "") -> Iterator[Import]:
    """Everything the file imports, also inside functions and for type checking only."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (Import(file, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [base])])
            yield from (Import(file, node.lineno, f"{base}.{alias.name}") for alias in node.names)


def library() -> dict[str, list[Import]]:
    """Every module of the library and what it imports."""
    found = {}
    for file in sorted(LIBRARY.rglob("*.py")):
        parts = ["relight", *file.relative_to(LIBRARY).with_suffix("").parts]
        package = ".".join(parts[:-1])
        found[package if parts[-1] == "__init__" else ".".join(parts)] = list(imports_of(file, package))
    return found


MODULES = library()


def part_of(name: str) -> str:
    """``relight.lane.stream.Piece`` belongs to ``lane``."""
    return name.split(".")[1] if "." in name else ""


def module_of(name: str) -> str:
    """The module of the library that an imported name lies in."""
    return name if name in MODULES else name.rpartition(".")[0]


def inside() -> Iterator[tuple[str, Import]]:
    """Imports of the library by itself."""
    for module, imports in MODULES.items():
        yield from ((module, one) for one in imports if one.name.split(".")[0] == "relight")


def complaints(found: Iterator[Import] | list[Import]) -> str:
    return "\n".join(map(str, found))


def test_the_table_knows_every_part_of_the_library() -> None:
    assert {part_of(module) for module in MODULES if part_of(module)} == set(ALLOWED)


def test_no_part_imports_what_the_table_does_not_allow() -> None:
    wrong = [
        one for module, one in inside()
        if part_of(module) != part_of(one.name) and part_of(one.name) not in ALLOWED[part_of(module)]
    ]  # fmt: skip
    assert not wrong, complaints(wrong)


def test_the_table_allows_nothing_that_is_not_needed() -> None:
    used = {(part_of(module), part_of(one.name)) for module, one in inside()}
    unused = {(a, b) for a, targets in ALLOWED.items() if targets is not ANYTHING for b in targets} - used
    assert not unused, f"take these out of the table: {sorted(unused)}"


def test_the_library_runs_without_airflow() -> None:
    wrong = [
        one for imports in MODULES.values() for one in imports
        if one.name.split(".")[0] in ("airflow", "relight_airflow")
    ]  # fmt: skip
    assert not wrong, complaints(wrong)


def test_steps_do_not_know_each_other() -> None:
    wrong = [
        one for module, one in inside()
        if part_of(module) == part_of(one.name) == "steps" and module_of(one.name) != SHARED_BY_STEPS
    ]  # fmt: skip
    assert not wrong, complaints(wrong)


def test_no_module_needs_itself_by_a_detour() -> None:
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for module, one in inside():
        graph[module] |= {module_of(one.name)} - {module}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@pytest.mark.parametrize("folder", ["dags", "plugins", "include"])
def test_only_the_command_line_the_bench_and_plugins_use_the_lab_and_nothing_uses_the_command_line(folder: str) -> None:
    wrong = []
    for file in (PROJECT / folder).rglob("*.py"):
        above = file.relative_to(PROJECT).parts[:3]
        for one in imports_of(file, ".".join(above[1:])):
            in_lab = one.name.startswith("relight.lab") and not (
                folder == "plugins" or above[2:] in (("lab",), ("cli",), ("bench",))
            )
            in_cli = one.name.startswith("relight.cli") and above[2:] != ("cli",)
            wrong += [one] if in_lab or in_cli else []
    assert not wrong, complaints(wrong)


def test_dags_know_airflow_and_the_plugin_only() -> None:
    allowed = {"airflow", "relight_airflow", *sys.stdlib_module_names}
    files = sorted((PROJECT / "dags").glob("*.py"))
    wrong = [one for file in files for one in imports_of(file) if one.name.split(".")[0] not in allowed]
    assert files
    assert not wrong, complaints(wrong)


def test_plugins_use_the_library_and_never_a_dag() -> None:
    names = {file.stem for file in (PROJECT / "dags").glob("*.py")}
    files = sorted((PROJECT / "plugins").rglob("*.py"))
    wrong = [one for file in files for one in imports_of(file) if one.name.split(".")[0] in {"dags", *names}]
    assert files
    assert not wrong, complaints(wrong)


def test_a_forbidden_import_would_be_seen_however_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "one.py"
    file.write_text(
        "from typing import TYPE_CHECKING\n"
        "def f():\n    from relight.steps import restore\n"
        "if TYPE_CHECKING:\n    import airflow.sdk as a\n"
        "from . import split\n"
        "from ..lab.s3 import start\n"
    )
    assert {one.name for one in imports_of(file, "relight.steps")} >= {
        "relight.steps.restore", "airflow.sdk", "relight.steps.split", "relight.lab.s3.start",
    }  # fmt: skip
