"""The ``relight`` command.

Only what a command needs is imported for it: all of Relight takes two seconds of a processor, and a person who asks
for the catalog at night waits for none of the rest.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from types import ModuleType

import typer

_GROUPS = {
    "backup": "backup", "bench": "bench", "certificate": "certificate", "fence": "fence", "lab": "lab",
    "quarantine": "quarantine", "timeline": "timeline",
}  # fmt: skip
"""Commands with commands of their own, and the module whose ``app`` they are."""

_COMMANDS = {
    "restore": ("restoring", "restore"), "abandon": ("abandoning", "abandon"), "validate": ("restoring", "validate"),
    "guard": ("guard", "guard"), "fleet": ("fleet", "fleet_"), "catalog": ("planning", "catalog"),
    "plan": ("planning", "plan"), "forecast": ("forecast", "forecast"), "rehearse": ("rehearsals", "rehearse"),
    "rehearsals": ("rehearsals", "rehearsals"), "status": ("via_airflow", "status"),
}  # fmt: skip
"""All others: the module and the function."""

_HELP = "Brings a lost MySQL fleet back: restore in parallel, prove, then promote."

NAMES = (*_GROUPS, *_COMMANDS)


def application(names: Iterable[str] = NAMES) -> typer.Typer:
    """The command line with these commands."""
    made = typer.Typer(
        rich_markup_mode=None,
        name="relight",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    made.callback(help=_HELP)(_nothing_before_a_command)
    for name in names:
        if name in _GROUPS:
            made.add_typer(_module(_GROUPS[name]).app, name=name)
        else:
            module, function = _COMMANDS[name]
            made.command(name)(getattr(_module(module), function))
    return made


def _nothing_before_a_command() -> None:
    """Without this, Typer would leave out the name of a command that is the only one."""


def _module(name: str) -> ModuleType:
    return import_module(f"relight.cli.{name}")


def main() -> None:
    """The entry point."""
    asked = sys.argv[1:2]
    application(asked if asked and asked[0] in NAMES else NAMES)()
