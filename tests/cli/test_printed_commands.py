"""Every command that Relight prints can be pasted into a shell as it stands."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from typer.main import get_command

from relight.cli import restoring
from relight.cli.main import application
from relight.credentials import EnvironmentCredentials, Login
from relight.errors import command_line
from relight.gtid import GtidSet
from relight.planning.target import Target
from relight.progress import Silent
from relight.site import Run, Site
from relight.store.s3 import open_store
from tests.airflow.fleets import fleet

PROJECT = Path(__file__).resolve().parents[2]
COMMANDS = sorted(get_command(application()).commands)  # type: ignore[attr-defined]
UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
IN_PROSE = {
    ("include/relight/bench/results.py", "not a result of relight bench replay"),
    ("include/relight/cli/restoring.py", "With --via-airflow: follow it; see relight status."),
    ("include/relight/lab/layout.py", "# The fleet of the lab, written by `relight lab up`.\n"),
    ("include/relight/cli/planning.py", "Follow this timeline instead of the present one; relight catalog draws them."),
    (
        "plugins/relight_airflow/request.py",
        "Empty: the present one. A number: an older one, with what later restores have given up; relight catalog SHARD "
        "draws them.",
    ),
}
"""Speaks of a command, and tells nobody to run it."""


def trees() -> Iterator[tuple[str, ast.Module]]:
    for folder in ("include/relight", "plugins", "dags"):
        for path in sorted((PROJECT / folder).rglob("*.py")):
            yield str(path.relative_to(PROJECT)), ast.parse(path.read_text(encoding="utf-8"))


def texts(tree: ast.Module) -> Iterator[str]:
    """Every string but docstrings."""
    statements = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in statements:
            yield node.value


def test_no_message_spells_a_command_out_by_itself() -> None:
    """It would not be quoted as a shell needs it, and nothing would notice when the command changes."""
    found = {
        (file, text) for file, tree in trees() for text in texts(tree)
        if any(f"relight {name}" in text for name in COMMANDS)
    }  # fmt: skip
    assert found - IN_PROSE == set()


def printed() -> Iterator[tuple[str, list[str]]]:
    """Where ``command_line`` is called, with which words. What is not constant is some word."""
    for file, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "command_line":
                if any(isinstance(one, ast.Starred) for one in node.args):
                    continue  # Run.command, below
                yield file, [str(one.value) if isinstance(one, ast.Constant) else "some-1" for one in node.args]


def parses(words: list[str]) -> None:
    """:raises click.UsageError: there is no such command, or not with these words."""
    command: click.Command = get_command(application())
    context = click.Context(command, info_name="relight")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
    command.parse_args(context, list(words))


@pytest.mark.parametrize(("file", "words"), [*printed()])
def test_a_printed_command_is_one_that_there_is(file: str, words: list[str]) -> None:
    parses(words)


def test_there_are_some() -> None:
    assert len([*printed()]) > 20


@pytest.mark.parametrize(
    "run",
    [
        Run(run_id="r", shard="s", target=Target(kind="latest")),
        Run(run_id="r", shard="s", target=Target.parse("time:2026-11-22T19:00:00+01:00"), mode="rehearse"),
        Run(run_id="r", shard="s", target=Target.parse(f"before:{UUID}:7"), skip=GtidSet.parse(f"{UUID}:5")),
        Run(
            run_id="manual__2026-11-22T19:02:11+00:00", shard="s", target=Target.parse("position:binlog.000003:4711"),
            skip=GtidSet.parse(f"{UUID}:5:9-11,{UUID[:-1]}0:1"), timeline=0, salvage=False, approved_by="Ann O'Neil",
            approval_reason='she "knows"; $(why)',
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("goes_on", [False, True])
def test_a_run_can_be_asked_for_again_with_all_that_was_asked_for(
    run: Run, goes_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reached(_site: Site, asked: Run, **_: object) -> None:
        raise Reached(asked)

    @contextmanager
    def site_of_tests(_: Path | None) -> Iterator[Site]:
        known = fleet("s")
        yield Site(known, open_store(known.store, Login("nobody", "nothing")), EnvironmentCredentials({}), Silent())

    monkeypatch.setattr("relight.recover.recover", reached)
    monkeypatch.setattr(restoring, "open_site", site_of_tests)
    with pytest.raises(Reached) as found:
        application()(shlex.split(run.command(goes_on=goes_on))[1:], standalone_mode=False)
    again = found.value.run
    assert again == run.model_copy(update={"run_id": again.run_id})
    assert (again.run_id == run.run_id) is goes_on


class Reached(Exception):
    """The command has come to the restore itself."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.run = run


def test_a_word_that_a_shell_would_take_apart_is_quoted() -> None:
    assert shlex.split(command_line("abandon", "a b;c$(d)")) == ["relight", "abandon", "a b;c$(d)"]
