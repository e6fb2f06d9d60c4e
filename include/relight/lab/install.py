"""Getting what the lab needs: a real MySQL without Docker, an S3 server, Redis and PostgreSQL for Airflow, a browser.

Debian 12 has MariaDB but no MySQL. Debian's unstable suite has one; its packages are unpacked
into a private folder and run with the C library they came with. Redis, PostgreSQL and Chromium
are those of Debian 12, and run with the machine's C library.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from relight.errors import CommandFailed, LabError
from relight.lab import browser, mysql, s3, services
from relight.lab.browser import Browser
from relight.lab.mysql import MySQL
from relight.lab.packages import Wanted, fetch, unpack
from relight.lab.place import Place
from relight.lab.services import Services
from relight.server import command

Say = Callable[[str], None]

MYSQL = Wanted(
    "sid", ("mysql-server-core", "mysql-client-core"),
    left_out=("perl",),  # for helper scripts that nothing here calls
)  # fmt: skip
SERVICES = Wanted(
    "bookworm", ("postgresql-15", "redis-server"),
    # The machine's C library is used. The others are for scripts that are not run, and for the JIT compiler, which
    # stays off.
    left_out=(
        "libc6", "debconf", "init-system-helpers", "libllvm14", "libpam-modules", "locales", "perl",
        "postgresql-common", "ssl-cert", "tzdata",
    ),
)  # fmt: skip
BROWSER = Wanted(
    "bookworm", ("chromium", "fonts-dejavu-core"),
    # The machine's C library is used; the others are for windows, sound and scripts that a headless one does without.
    left_out=(
        "libc6", "debconf", "perl", "tzdata", "xdg-utils", "x11-utils", "libgtk-3-common", "dconf-gsettings-backend",
        "libgl1-mesa-dri", "libllvm15", "shared-mime-info", "adwaita-icon-theme", "desktop-file-utils",
    ),
)  # fmt: skip

_PATHS = {"mysqld": "usr/sbin/mysqld", "mysql": "usr/bin/mysql", "mysqlbinlog": "usr/bin/mysqlbinlog"}


def install(place: Place, say: Say) -> MySQL:
    """Install what is missing; what is complete is left alone. Safe to interrupt and to repeat.

    :raises LabError: something cannot be had; says what.
    """
    s3.program()
    found = mysql.on_machine() or mysql.private(place)
    if found is None:
        say(f"a MySQL server from Debian's unstable suite, into {place.mysql}: downloading about 65 MB")
        found = _fetch_mysql(place)
    if services.private(place) is None:
        say(f"Redis and PostgreSQL from Debian 12, into {place.services}: downloading about 45 MB")
        _fetch_services(place)
    if browser.on_machine() is None and browser.private(place) is None:
        say(f"Chromium from Debian 12, for tests of the pages, into {place.browser}: downloading about 120 MB")
        _fetch_browser(place)
    say(f"MySQL {found.text} at {found.mysqld}, SeaweedFS at {s3.program()}")
    return found


def _fetch_mysql(place: Place) -> MySQL:
    downloads = place.root / "mysql.download"
    shutil.rmtree(place.mysql, ignore_errors=True)
    try:
        unpack(fetch(MYSQL, downloads), place.mysql)
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


def _fetch_services(place: Place) -> Services:
    downloads = place.root / "services.download"
    shutil.rmtree(place.services, ignore_errors=True)
    try:
        unpack(fetch(SERVICES, downloads), place.services)
        found = services.in_folder(place.services)
        if found is None:
            raise LabError("a program is missing from the unpacked packages", on=str(place.services))
        for program in (found.redis, found.postgres / "postgres"):
            command.run([program, "--version"], environment=found.environment, timeout=60)
    except CommandFailed as error:
        raise LabError(
            "Redis and PostgreSQL could not be installed", on=str(place.services), why=str(error),
            hint="is the Debian mirror of this machine's apt sources reachable?",
        ) from None  # fmt: skip
    (place.services / services.STAMP).touch()
    shutil.rmtree(downloads)
    return found


def _fetch_browser(place: Place) -> Browser:
    downloads = place.root / "browser.download"
    shutil.rmtree(place.browser, ignore_errors=True)
    try:
        unpack(fetch(BROWSER, downloads), place.browser)
        found = browser.in_folder(place.browser)
        if found is None:
            raise LabError("a program is missing from the unpacked packages", on=str(place.browser))
        browser.write_fonts(place.browser)
        profile = f"--user-data-dir={downloads / 'profile'}"
        page = [str(found.program), *browser.ARGUMENTS, profile, "--dump-dom", "data:,works"]
        told = command.run(page, environment=found.environment, timeout=120)
    except CommandFailed as error:
        raise LabError(
            "Chromium could not be installed", on=str(place.browser), why=str(error),
            hint="is the Debian mirror of this machine's apt sources reachable? A chromium on PATH is used instead",
        ) from None  # fmt: skip
    if b"works" not in told:
        raise LabError("the Chromium that was unpacked shows nothing", on=str(place.browser))
    (place.browser / browser.STAMP).touch()
    shutil.rmtree(downloads)
    return found


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
