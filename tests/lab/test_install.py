"""Which MySQL is taken, and where packages come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from relight.errors import LabError
from relight.lab.browser import find_browser
from relight.lab.mysql import PROGRAMS, STAMP, MySQL, find_mysql, on_machine, parse_version, private
from relight.lab.packages import mirror
from relight.lab.place import Place
from relight.lab.services import Services, find_services


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", (9, 7, 4)),
        ("/usr/sbin/mysqld  Ver 8.0.36-0ubuntu0.22.04.1 for Linux on x86_64 ((Ubuntu))", (8, 0, 36)),
        ("mysqld  Ver 10.11.6-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)", None),
        ("mariadbd  Ver 11.4.2-MARIADB for Linux", None),
        ("command not found", None),
    ],
)
def test_mariadb_is_not_taken_for_mysql(text: str, version: tuple[int, int, int] | None) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize(
    ("line", "taken"),
    [("Ver 8.0.30 for Linux", True), ("Ver 8.0.29 for Linux", False), ("Ver 10.11.6-MariaDB for Linux", False)],
)
def test_a_mysqld_on_the_machine_is_taken_only_if_it_can_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, taken: bool
) -> None:
    for program in PROGRAMS:
        path = tmp_path / program
        path.write_text(f"#!/bin/sh\necho '{program}  {line}'\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = on_machine()
    assert (found is not None) == taken
    if found:
        assert found.mysqld == tmp_path / "mysqld"
        assert not found.options


def test_a_mysqld_on_the_machine_without_its_client_programs_is_not_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mysqld").write_text("#!/bin/sh\necho 'mysqld  Ver 8.4.0 for Linux'\n")
    (tmp_path / "mysqld").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert on_machine() is None


def test_the_rest_of_an_interrupted_install_is_not_used(tmp_path: Path, mysql: MySQL) -> None:
    if mysql.options == {}:
        pytest.skip("this machine has a MySQL of its own")
    place = Place(tmp_path)
    (place.mysql / "bin").mkdir(parents=True)
    for program in PROGRAMS:
        (place.mysql / "bin" / program).symlink_to(mysql.mysqld.parent / program)
    with pytest.raises(LabError, match="no MySQL") as caught:
        find_mysql(place)
    assert "make setup" in caught.value.hint
    (place.mysql / STAMP).write_text("mysqld  Ver 9.7.4 for Linux")
    assert private(place) is not None


def test_the_rest_of_an_interrupted_install_of_the_services_is_not_used(tmp_path: Path, services: Services) -> None:
    place = Place(tmp_path)
    place.services.mkdir()
    for part in services.prefix.iterdir():
        if part.is_dir():
            (place.services / part.name).symlink_to(part)
    with pytest.raises(LabError, match="no Redis and PostgreSQL") as caught:
        find_services(place)
    assert "make setup" in caught.value.hint
    (place.services / ".complete").touch()
    assert find_services(place).redis.exists()


def test_a_browser_on_the_machine_is_taken_and_the_rest_of_an_interrupted_install_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path / "lab")
    monkeypatch.setenv("PATH", str(tmp_path))
    program = place.browser / "usr" / "lib" / "chromium" / "chromium"
    program.parent.mkdir(parents=True)
    program.touch()
    with pytest.raises(LabError, match="no browser") as caught:
        find_browser(place)
    assert "make setup" in caught.value.hint
    (place.browser / ".complete").touch()
    assert find_browser(place).program == program
    own = tmp_path / "chromium"
    own.touch()
    own.chmod(0o755)
    assert find_browser(place).program == own


@pytest.mark.parametrize(
    ("name", "text", "address"),
    [
        ("sources.list.d/debian.sources", "Types: deb\nURIs: http://mirror.example/debian/\nSuites: bookworm\n",
         "http://mirror.example/debian"),
        ("sources.list.d/debian.sources",
         "# http://old.example/debian\nURIs: http://s.example/debian-security http://m.example/debian\n",
         "http://m.example/debian"),
        ("sources.list", "deb [arch=amd64] http://classic.example/debian bookworm main\n", "http://classic.example/debian"),
    ],
)  # fmt: skip
def test_the_machines_own_mirror_is_used(tmp_path: Path, name: str, text: str, address: str) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / name).write_text(text)
    assert mirror(tmp_path) == address


@pytest.mark.parametrize(
    "text", ["# deb http://no.example/debian x main\n", "deb https://p.example.com/apt cloud main\n"]
)
def test_a_machine_without_a_debian_mirror_is_told_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "sources.list").write_text(text)
    with pytest.raises(LabError, match="no Debian mirror is named"):
        mirror(tmp_path)
