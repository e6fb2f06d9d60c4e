"""No program is started with all that Relight's own environment holds. A start without its own environment fails here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]

WITH_ENVIRONMENT = {
    *(f"subprocess.{name}" for name in ("Popen", "run", "call", "check_call", "check_output")),
    "asyncio.create_subprocess_exec", "asyncio.create_subprocess_shell",
}  # fmt: skip
"""They inherit everything unless they are given ``env``."""

WITHOUT = {
    "subprocess.getoutput", "subprocess.getstatusoutput", "os.system", "os.popen", "os.startfile", "pty.spawn",
    *(f"os.exec{how}" for how in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")),
    *(f"os.spawn{how}" for how in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")),
    "os.posix_spawn", "os.posix_spawnp", "webbrowser.open",
}  # fmt: skip
"""They have no ``env``, or none that can be left out by mistake and be seen here."""

GIVES_ALL = {"include/deploy/machine.py": "the container's worker: the passwords are for it"}
"""Where a child gets all of the environment on purpose, and why."""


def names_of(tree: ast.AST) -> dict[str, str]:
    """What the local names of a file stand for, as far as it imports them."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def dotted(node: ast.AST, names: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, names)}.{node.attr}"
    return names.get(node.id, "") if isinstance(node, ast.Name) else ""


def annotations(tree: ast.AST) -> set[ast.AST]:
    """Every node that only says of what type something is."""
    tops: list[ast.AST | None] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            tops.append(node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            tops.append(node.returns)
    return {inner for top in tops if top is not None for inner in ast.walk(top)}


def starts_with_too_much(text: str, *, gives_all: bool = False) -> Iterator[str]:
    """Lines on which a program is started, or may be, without an environment made by ``child_environment``."""
    tree = ast.parse(text)
    names, only_types, fine = names_of(tree), annotations(tree), set[ast.AST]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and dotted(node.func, names) in WITH_ENVIRONMENT:
            given = next((word.value for word in node.keywords if word.arg == "env"), None)
            made = dotted(given.func, names) if isinstance(given, ast.Call) else ""
            if made.endswith("environment.child_environment") or (gives_all and given is not None):
                fine.add(node.func)
    for node in ast.walk(tree):
        name = dotted(node, names)
        if name in WITH_ENVIRONMENT | WITHOUT and node not in fine | only_types:
            yield f"line {node.lineno}: {name}"


def test_every_program_is_started_with_an_environment_of_its_own() -> None:
    files = [file for folder in ("include", "plugins", "dags") for file in sorted((PROJECT / folder).rglob("*.py"))]
    found = {}
    for file in files:
        name = str(file.relative_to(PROJECT))
        wrong = list(starts_with_too_much(file.read_text(encoding="utf-8"), gives_all=name in GIVES_ALL))
        found |= {name: wrong} if wrong else {}
    assert len(files) > 100
    assert not found, f"give them env=child_environment(...): {found}"


@pytest.mark.parametrize(
    "text",
    [
        "import subprocess\nsubprocess.run(['mysqld'])",
        "import subprocess\nsubprocess.run(['mysqld'], env=None)",
        "import subprocess, os\nsubprocess.Popen(['mysqld'], env={**os.environ})",
        "import subprocess as s\ns.check_output('x')",
        "from subprocess import Popen as P\nP(['mysqld'])",
        "def f():\n    import os\n    os.execvp('mysqld', [])",
        "import os\nos.system('mysqld')",
        "import subprocess\nfrom functools import partial\npartial(subprocess.run, check=True)(['mysqld'])",
        "import asyncio\nasync def f():\n    await asyncio.create_subprocess_exec('mysqld')",
        "import subprocess\ndef child_environment(): ...\nsubprocess.run(['mysqld'], env=child_environment())",
    ],
)
def test_a_start_that_inherits_everything_would_be_seen_however_it_is_written(text: str) -> None:
    assert list(starts_with_too_much(text))


def test_a_start_with_an_environment_of_its_own_is_fine() -> None:
    text = (
        "import subprocess\nfrom relight.server.environment import child_environment\n"
        "def f(a: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:\n"
        "    return subprocess.Popen(['mysqld'], env=child_environment({'TZ': 'UTC'}))\n"
    )
    assert not list(starts_with_too_much(text))
