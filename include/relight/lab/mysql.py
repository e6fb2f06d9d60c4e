"""Which MySQL the lab runs: the machine's own, or the private one below the lab."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from relight.errors import CommandFailed, LabError
from relight.lab.place import Place
from relight.server import command

OLDEST = (8, 0, 30)
"""The first version that reads the closing settings in the form that Relight writes them."""

PROGRAMS = ("mysqld", "mysql", "mysqlbinlog")

STAMP = ".complete"
"""Written last into a private MySQL: without it the folder is the rest of an interrupted install."""


@dataclass(frozen=True)
class MySQL:
    """The programs, their version, and the options a server of theirs needs to find its own files."""

    mysqld: Path
    mysql: Path
    mysqlbinlog: Path
    version: tuple[int, int, int]
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The version as people write it."""
        return ".".join(map(str, self.version))


def find_mysql(place: Place) -> MySQL:
    """The MySQL to use. :raises LabError: there is none yet."""
    found = on_machine() or private(place)
    if found is None:
        raise LabError("no MySQL to run the lab with", on=str(place.mysql), hint="run: make setup")
    return found


def on_machine() -> MySQL | None:
    """A real MySQL (MariaDB is not one) on PATH that is new enough and complete, or None."""
    paths = [shutil.which(p, path=None) or shutil.which(p, path="/usr/sbin:/usr/local/sbin") for p in PROGRAMS]
    if not all(paths):
        return None
    mysqld, mysql, mysqlbinlog = (Path(p) for p in paths if p)
    try:
        version = parse_version(command.run([mysqld, "--version"], timeout=30).decode("utf-8", "replace"))
    except CommandFailed:
        return None  # a mysqld that cannot even tell its version is of no use here
    return MySQL(mysqld, mysql, mysqlbinlog, version) if version and version >= OLDEST else None


def private(place: Place) -> MySQL | None:
    """The complete private MySQL below the lab, or None."""
    prefix = place.mysql
    try:
        version = parse_version((prefix / STAMP).read_text(encoding="utf-8"))
    except OSError:
        return None
    if version is None or not all((prefix / "bin" / program).exists() for program in PROGRAMS):
        return None
    options = {
        "basedir": f"{prefix}/usr",
        "lc-messages-dir": f"{prefix}/usr/share/mysql",
        "character-sets-dir": f"{prefix}/usr/share/mysql/charsets",
        "plugin-dir": f"{prefix}/usr/lib/mysql/plugin",
    }
    mysqld, mysql, mysqlbinlog = (prefix / "bin" / program for program in PROGRAMS)
    return MySQL(mysqld, mysql, mysqlbinlog, version, options)


def parse_version(text: str) -> tuple[int, int, int] | None:
    """The version in the answer of ``mysqld --version``; None for MariaDB or no version at all."""
    found = re.search(r"Ver (\d+)\.(\d+)\.(\d+)", text)
    if found is None or "mariadb" in text.lower():
        return None
    return int(found[1]), int(found[2]), int(found[3])
