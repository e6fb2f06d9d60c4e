"""What a server's time zone means, told by the server, and how another one gets the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from relight.backups.manifest import SystemZone
from relight.fleet import Server
from relight.lab.mysql import MySQL
from relight.lab.template import Template
from relight.server import mysqld
from relight.server import zone as zone_module
from relight.server.empty import empty_server
from relight.server.scratch import scratch_boot
from relight.server.zone import environment_of, same_zone, system_zone, write_zone, zone_environment
from tests.conftest import make_servers
from tests.support.servers import Servers

ZONES = ("Asia/Kolkata", "America/New_York", "CET-1CEST,M3.5.0,M10.5.0/3")
"""Of fixed offset; one of a name; one of which only the changes are known, and no name."""


@pytest.fixture(scope="module")
def all_servers(watched: Path, mysql: MySQL, template: Template) -> Iterator[tuple[Servers, dict[str, Server]]]:
    for servers in make_servers(watched, mysql, template):
        made = {zone: servers.make(f"in-{number}", start=False) for number, zone in enumerate(ZONES)}
        for zone, server in made.items():
            write_zone(server.datadir, SystemZone.model_construct(name=zone, digest=""))
            mysqld.start(server, servers.admin).close()
        yield servers, made


Made = tuple[Servers, dict[str, Server]]


def zone_of(all_servers: Made, name: str) -> SystemZone:
    with all_servers[0].connect(all_servers[1][name]) as session:
        return system_zone(session)


def test_a_server_that_relight_has_built_is_started_in_the_zone_that_it_shall_have(all_servers: Made) -> None:
    servers, made = all_servers
    with servers.connect(made["Asia/Kolkata"]) as session:
        assert str(session.value("SELECT FROM_UNIXTIME(0)")) == "1970-01-01 05:30:00"


def test_a_zone_is_known_by_its_changes_and_has_a_name_that_gives_them(all_servers: Made) -> None:
    found = {name: zone_of(all_servers, name) for name in ZONES}
    assert [one.offset for one in found.values()] == [19800, None, None]
    assert ZoneInfo(found["America/New_York"].name)
    assert found["CET-1CEST,M3.5.0,M10.5.0/3"].name == "", "no name of a region has just these changes"
    assert len({one.digest for one in found.values()}) == 3


def test_asking_leaves_the_session_in_the_zone_that_it_begins_with(all_servers: Made) -> None:
    servers, made = all_servers
    with servers.connect(made["Asia/Kolkata"]) as session:
        system_zone(session)
        assert session.value("SELECT @@SESSION.time_zone") == session.value("SELECT @@GLOBAL.time_zone")


def test_another_server_has_a_zone_as_its_own_as_an_offset_or_not_at_all(all_servers: Made) -> None:
    servers, made = all_servers
    kolkata, new_york = (zone_of(all_servers, name) for name in ZONES[:2])
    with servers.connect(made["Asia/Kolkata"]) as session:
        assert same_zone(session, kolkata) == "SYSTEM"
        assert same_zone(session, new_york) is None, "its tables of time zones are empty"
    with servers.connect(made["America/New_York"]) as session:
        assert same_zone(session, kolkata) == "+05:30"
        assert same_zone(session, new_york) == "SYSTEM"
        assert same_zone(session, SystemZone(offset=15 * 3600, digest="of no place")) is None


def test_another_server_has_a_zone_by_its_name_where_its_tables_know_it(all_servers: Made) -> None:
    servers, made = all_servers
    with servers.connect(made["America/New_York"]) as session:
        zone, changes = system_zone(session), zone_module._changes(session, "SYSTEM")
    with servers.connect(made["CET-1CEST,M3.5.0,M10.5.0/3"]) as session:
        session.run("INSERT INTO mysql.time_zone VALUES (1, 'N')")
        session.run("INSERT INTO mysql.time_zone_name VALUES ('America/New_York', 1)")
        offsets = sorted({offset for _, offset in changes})
        for number, offset in enumerate(offsets):
            session.run("INSERT INTO mysql.time_zone_transition_type VALUES (1, %s, %s, 0, '')", number, offset)
        for since, offset in changes[:-1]:
            session.run("INSERT INTO mysql.time_zone_transition VALUES (1, %s, %s)", since, offsets.index(offset))
    mysqld.stop(made["CET-1CEST,M3.5.0,M10.5.0/3"], servers.admin)
    with mysqld.start(made["CET-1CEST,M3.5.0,M10.5.0/3"], servers.admin) as session:
        assert same_zone(session, zone) is None, "one of its changes is missing: it is another zone"
        since, offset = changes[-1]
        session.run("INSERT INTO mysql.time_zone_transition VALUES (1, %s, %s)", since, offsets.index(offset))
    mysqld.stop(made["CET-1CEST,M3.5.0,M10.5.0/3"], servers.admin)
    with mysqld.start(made["CET-1CEST,M3.5.0,M10.5.0/3"], servers.admin) as session:
        assert same_zone(session, zone) == "America/New_York"


def test_what_a_zone_is_called_gives_the_same_zone_to_the_next_server(all_servers: Made) -> None:
    servers, made = all_servers
    for name in ZONES[:2]:
        zone = zone_of(all_servers, name)
        copy = servers.folder / f"copy-of-{zone.digest[:8]}"
        servers.template.copy_to(copy)
        with scratch_boot(made[name], servers.admin, copy, environment=environment_of(zone)) as session:
            assert same_zone(session, zone) == "SYSTEM"


def test_the_empty_server_that_definitions_are_made_on_is_in_the_zone_of_the_rebuilt_one(all_servers: Made) -> None:
    zone = zone_of(all_servers, "America/New_York")
    with empty_server(all_servers[1]["America/New_York"]) as session:
        assert same_zone(session, zone) == "SYSTEM"


def test_a_directory_that_gets_no_zone_is_started_in_that_of_the_machine(tmp_path: Path) -> None:
    write_zone(tmp_path, SystemZone(name="Asia/Kolkata", digest=""))
    assert zone_environment(tmp_path) == {"TZ": "Asia/Kolkata"}
    write_zone(tmp_path, None)
    assert zone_environment(tmp_path) == {}
    write_zone(tmp_path, SystemZone(name="", digest=""))
    assert zone_environment(tmp_path) == {}
