"""What every command needs: the site, and errors that people can read."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from relight.credentials import EnvironmentCredentials
from relight.errors import FleetError, LabError, RelightError
from relight.fleet import Fleet
from relight.fleet_file import load_fleet
from relight.lab.place import Place
from relight.lab.secrets import read as lab_secrets
from relight.operating_system import machine_errors
from relight.progress import Progress, on_terminal
from relight.site import Site
from relight.store.s3 import open_store

FAILED = 1
"""Exit status of a command that refused or failed; wrong usage is 2."""


@contextmanager
def open_site(fleet: Path | None = None) -> Iterator[Site]:
    """The site of the fleet file that ``--fleet`` or RELIGHT_FLEET names, else of the lab if it is up.

    Progress goes to standard error, so that standard output is the command's result alone.
    """
    with on_terminal(Console(stderr=True)) as progress:
        yield open_site_with(progress, fleet)


def open_site_with(progress: Progress, fleet: Path | None = None) -> Site:
    """The same, with progress going where the caller says."""
    path, environment = _fleet_and_environment(fleet)
    loaded = load_fleet(path)
    credentials = EnvironmentCredentials(environment)
    return Site(loaded, open_store(loaded.store, credentials.login("store")), credentials, progress)


def fleet_if_any(fleet: Path | None = None) -> tuple[Fleet | None, EnvironmentCredentials]:
    """The same fleet and its logins, for commands that need neither store nor servers: they also work where
    no fleet file is named and no lab is up."""
    found = _find_fleet(fleet)
    if found is None:
        return None, EnvironmentCredentials()
    path, environment = found
    return load_fleet(path), EnvironmentCredentials(environment)


def _fleet_and_environment(fleet: Path | None) -> tuple[Path, Mapping[str, str]]:
    found = _find_fleet(fleet)
    if found is None:
        raise FleetError(
            "no fleet file", why="neither --fleet nor RELIGHT_FLEET is given, and no lab is up",
            hint="name your fleet file, or start a lab with: make demo",
        )  # fmt: skip
    return found


def _find_fleet(fleet: Path | None) -> tuple[Path, Mapping[str, str]] | None:
    named = fleet or (Path(os.environ["RELIGHT_FLEET"]) if os.environ.get("RELIGHT_FLEET") else None)
    if named is not None and EnvironmentCredentials().has("store"):
        return named, os.environ
    try:
        lab = Place.find()
    except LabError:  # installed without the project's folder
        return None if named is None else (named, os.environ)
    if named is not None and named.resolve() != lab.fleet_file.resolve():
        return named, os.environ
    if not lab.fleet_file.exists():
        return None
    return lab.fleet_file, {**lab_secrets(lab), **os.environ}


@contextmanager
def readable_errors() -> Iterator[None]:
    """One line and a hint on standard error instead of a traceback; exit status 1."""
    try:
        with machine_errors():
            yield
    except RelightError as error:
        print(f"relight: {error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        raise SystemExit(FAILED) from None
    except KeyboardInterrupt:
        print("relight: interrupted; run the same command again to go on", file=sys.stderr)
        raise SystemExit(130) from None
