"""The private Redis and PostgreSQL: what Airflow needs to give tasks to workers on several machines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from relight.errors import LabError
from relight.lab.place import Place

STAMP = ".complete"
"""Written last: without it the folder is the rest of an interrupted install."""


@dataclass(frozen=True)
class Services:
    """The programs, and the environment in which they find their libraries."""

    prefix: Path
    redis: Path
    postgres: Path
    """The folder with PostgreSQL's programs. They find their other files from there."""

    @property
    def environment(self) -> dict[str, str]:
        """Their own libraries first; the C library is the machine's."""
        folders = [*self.prefix.glob("usr/lib/*-linux-gnu"), *self.prefix.glob("lib/*-linux-gnu")]
        return {"LD_LIBRARY_PATH": ":".join(map(str, folders)), "LC_ALL": "C"}


def find_services(place: Place) -> Services:
    """The ones to use. :raises LabError: they are not there yet."""
    found = private(place)
    if found is None:
        raise LabError("no Redis and PostgreSQL", on=str(place.services), hint="run: make setup")
    return found


def private(place: Place) -> Services | None:
    """The complete ones below the lab, or None."""
    found = in_folder(place.services)
    return found if found is not None and (place.services / STAMP).exists() else None


def in_folder(prefix: Path) -> Services | None:
    """What lies in a folder that packages were unpacked into, or None if a program is missing."""
    postgres = next(prefix.glob("usr/lib/postgresql/*/bin"), prefix)
    found = Services(prefix, prefix / "usr" / "bin" / "redis-server", postgres)
    programs = (found.redis, *(postgres / name for name in ("initdb", "postgres", "pg_isready")))
    return found if all(program.exists() for program in programs) else None
