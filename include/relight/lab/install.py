"""Getting what the lab needs: a real MySQL without Docker, and an S3 server.

Debian 12 has MariaDB but no MySQL. Debian's unstable suite has one; its packages are fetched
with apt (so their signatures are checked) into a private folder, unpacked without being
installed, and run with the C library they came with. That changes nothing on the machine and
needs no rights beyond writing to the lab's folder.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from relight.errors import CommandFailed, LabError
from relight.lab import mysql, s3
from relight.lab.mysql import MySQL
from relight.lab.place import Place
from relight.server import command

Say = Callable[[str], None]

PACKAGES = ("mysql-server-core", "mysql-client-core")
_DEFAULT_MIRROR = "http://deb.debian.org/debian"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_PATHS = {"mysqld": "usr/sbin/mysqld", "mysql": "usr/bin/mysql", "mysqlbinlog": "usr/bin/mysqlbinlog"}


def install(place: Place, say: Say) -> MySQL:
    """Install what is missing; what is complete is left alone. Safe to interrupt and to repeat.

    :raises LabError: something cannot be had; says what.
    """
    s3.program()
    found = mysql.on_machine() or mysql.private(place)
    if found is None:
        say(f"a MySQL server from Debian's unstable suite, into {place.mysql}")
        found = _fetch_mysql(place, say)
    say(f"MySQL {found.text} at {found.mysqld}, SeaweedFS at {s3.program()}")
    return found


def _fetch_mysql(place: Place, say: Say) -> MySQL:
    downloads = place.root / "mysql.download"
    shutil.rmtree(place.mysql, ignore_errors=True)
    try:
        archives = _download(downloads, say)
        say(f"unpacking {len(archives)} packages")
        for archive in archives:
            command.run(["dpkg-deb", "-x", archive, place.mysql], timeout=300)
        _write_wrappers(place.mysql)
        told = command.run([place.mysql / "bin" / "mysqld", "--no-defaults", "--version"], timeout=60)
    except CommandFailed as error:
        raise LabError(
            "MySQL could not be installed", on=str(place.mysql), why=str(error),
            hint="is the Debian mirror of this machine's apt sources reachable? A mysqld of your own "
            "(8.0.30 or newer, with mysql and mysqlbinlog) on PATH is used instead where there is one",
        ) from None  # fmt: skip
    (place.mysql / mysql.STAMP).write_bytes(told)
    shutil.rmtree(downloads)
    found = mysql.private(place)
    if found is None:
        raise LabError("the MySQL that was unpacked is none", on=str(place.mysql), why=told.decode("utf-8", "replace"))
    return found


def _download(folder: Path, say: Say) -> list[Path]:
    """Fetch the packages and what they need; gives the archives, without those of perl."""
    configuration = _write_apt_configuration(folder, mirror(Path("/etc/apt")))
    environment = {"APT_CONFIG": str(configuration), "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    say("reading the package lists")
    command.run(["apt-get", "-qq", "update"], environment=environment, timeout=300)
    say("downloading about 65 MB")
    command.run(
        ["apt-get", "-qq", "--yes", "--download-only", "--no-install-recommends", "install", *PACKAGES],
        environment=environment, timeout=1800,
    )  # fmt: skip
    archives = sorted((folder / "cache" / "archives").glob("*.deb"))
    # Perl is wanted by helper scripts that nothing here calls.
    return [a for a in archives if not a.name.startswith(("perl", "libperl"))]


def _write_apt_configuration(folder: Path, address: str) -> Path:
    """A private apt: own sources, lists, cache and an empty list of installed packages."""
    if not _KEYRING.exists():
        raise LabError(
            "Debian's archive keys are missing", on=str(_KEYRING), why="packages are only taken with their signature",
            hint="apt-get install debian-archive-keyring, or put a mysqld of your own on PATH",
        )  # fmt: skip
    for part in ("etc", "state/lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    (folder / "etc" / "sources.list").write_text(f"deb [signed-by={_KEYRING}] {address} sid main\n", encoding="utf-8")
    settings = {
        "Dir::State": folder / "state",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Dir::Etc": folder / "etc",
        "Dir::Etc::sourcelist": folder / "etc" / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "APT::Install-Recommends": "false",
        # Mirrors that keep a past state of the archive serve a Release file whose date of expiry has
        # passed. The signatures on it, and through it on every package, are checked all the same.
        "Acquire::Check-Valid-Until": "false",
        # Root's apt would otherwise download as the account _apt, which cannot write here.
        "APT::Sandbox::User": "root",
        # The locks would be below /var: they protect the machine's own package state, not this folder.
        "Debug::NoLocking": "true",
    }
    path = folder / "apt.conf"
    path.write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()), encoding="utf-8")
    return path


def mirror(apt: Path) -> str:
    """The Debian mirror that the machine's own apt sources name, so that a local one is respected.

    ``apt`` is the folder /etc/apt. Both forms are read: one-line ``.list`` and deb822 ``.sources``.
    """
    for path in [
        *sorted(apt.glob("sources.list.d/*.sources")),
        apt / "sources.list",
        *apt.glob("sources.list.d/*.list"),
    ]:
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue  # not every machine has every one of them
        for line in lines:
            for word in line.split():
                if "://" in word and not line.lstrip().startswith("#") and word.rstrip("/").endswith("/debian"):
                    return word.rstrip("/")
    return _DEFAULT_MIRROR


def _write_wrappers(prefix: Path) -> None:
    """Small scripts that run each program with the C library it was built for."""
    loader = next(iter([*prefix.glob("usr/lib64/ld-linux-*.so.*"), *prefix.glob("usr/lib/ld-linux-*.so.*")]), None)
    libraries = next(prefix.glob("usr/lib/*-linux-gnu"), None)
    if loader is None or libraries is None:
        raise LabError("the unpacked packages hold no C library", on=str(prefix))
    (prefix / "bin").mkdir(exist_ok=True)
    for name, program in _PATHS.items():
        wrapper = prefix / "bin" / name
        wrapper.write_text(
            f'#!/bin/sh\nexec "{loader}" --library-path "{libraries}" "{prefix / program}" "$@"\n', encoding="utf-8"
        )
        wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        if not os.access(prefix / program, os.R_OK):
            raise LabError("a program is missing from the unpacked packages", on=str(prefix / program))
