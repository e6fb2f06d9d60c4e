"""The fleet file: every mistake is named with its place, all at once, and no secret is taken."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from relight.errors import FleetError
from relight.fleet import Fleet
from relight.fleet_file import load_fleet

Document = dict[str, Any]


def server(name: str, number: int, **more: object) -> Document:
    home = f"/srv/{name}"
    return {
        "name": name, "host": "db.example", "port": 3306 + number, "datadir": f"{home}/data",
        "socket": f"{home}/mysqld.sock", "options_file": f"{home}/my.cnf", "workdir": f"{home}/work",
        "control": {"kind": "process"}, **more,
    }  # fmt: skip


GOOD: Document = {
    "fleet": "shop",
    "store": {"bucket": "backups", "prefix": "mysql"},
    "shards": [
        {"name": "shard-1", "source": server("a", 0), "replicas": [server("b", 1), server("c", 2)],
         "scratch": server("s", 3)},
        {"name": "shard-2", "tier": 2, "source": server("d", 4)},
    ],
}  # fmt: skip


@pytest.fixture
def load(tmp_path: Path) -> Callable[[object], Fleet]:
    """Writes a document, or a text as it is, and loads it."""

    def write(document: object) -> Fleet:
        path = tmp_path / "fleet.yaml"
        path.write_text(document if isinstance(document, str) else yaml.safe_dump(document), encoding="utf-8")
        return load_fleet(path)

    return write


Load = Callable[[object], Fleet]


def changed(*changes: tuple[str, object]) -> Document:
    """GOOD with values set at dotted places; ``None`` removes what is there."""
    document = copy.deepcopy(GOOD)
    for place, value in changes:
        *way, last = (int(part) if part.isdigit() else part for part in place.split("."))
        at: Any = document
        for part in way:
            at = at[part]
        if value is None:
            del at[last]
        else:
            at[last] = value
    return document


def mistakes(load: Load, document: object) -> str:
    with pytest.raises(FleetError) as refused:
        load(document)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_good_file_is_read_as_it_stands(load: Load) -> None:
    fleet = load(GOOD)
    one, two = fleet.shards
    assert [s.name for s in one.servers] == ["a", "b", "c"]
    assert (one.backup_server.name, two.backup_server.name) == ("b", "d")
    assert one.scratch is not None
    assert (one.tier, two.tier, one.source.queue) == (1, 2, "default")
    assert fleet.limits.lane_groups == 200
    assert (fleet.certificates.public_keys, fleet.certificates.valid_hours) == ((), 24)
    assert fleet.shard("shard-2") is two


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("fleet", None, "fleet: is missing"),
        ("fleet", "Shop Fleet", "fleet: "),
        ("store", None, "store: is missing"),
        ("store.bucket", "x", "store.bucket: "),
        ("store.bucket", "   ", "store.bucket: "),
        ("store.bucket", "a/b", "store.bucket: "),
        ("store.endpoint", "", "store.endpoint: must begin with https:// or http:// and a host"),
        ("store.endpoint", "s3.example.net", "store.endpoint: must begin with https:// or http:// and a host"),
        ("store.endpoint", "http://:8333", "store.endpoint: must begin with https:// or http:// and a host"),
        ("store.endpoint", "http://0.0.0.0:8333", "store.endpoint: must be an address of one machine"),
        ("store.endpoint", "http://s3.example.net:0", "store.endpoint: must begin with https:// or http:// and a host"),
        ("store.region", "", "store.region: "),
        ("store.part_size_mib", 1, "store.part_size_mib: "),
        ("store.parallel", "many", "store.parallel: "),
        ("shards", [], "shards: "),
        ("shards.0.name", "Shard 1", "shards[0].name: "),
        ("shards.0.tier", 0, "shards[0].tier: "),
        ("shards.0.source", None, "shards[0].source: is missing"),
        ("shards.0.source.host", None, "shards[0].source.host: is missing"),
        ("shards.0.source.queue", "", "shards[0].source.queue: "),
        ("shards.0.source.queue", "a,b", "shards[0].source.queue: "),
        ("shards.0.source.run_as", "", "shards[0].source.run_as: "),
        ("shards.0.source.mysqld", "", "shards[0].source: mysqld must name a program"),
        ("shards.0.source.mysqlbinlog", "", "shards[0].source: mysqlbinlog must name a program"),
        ("shards.0.source.datadir", "", "shards[0].source: datadir must be an absolute path"),
        ("shards.0.source.datadir", "/", "shards[0].source: datadir must not be /"),
        ("shards.0.source.workdir", "/", "shards[0].source: workdir must not be /"),
        ("shards.0.source.socket", "", "shards[0].source: socket must be an absolute path"),
        ("shards.0.source.socket", ".", "shards[0].source: socket must be an absolute path"),
        ("shards.0.source.socket", "//", "shards[0].source: socket must not be /"),
        ("shards.0.source.options_file", "/", "shards[0].source: options_file must not be /"),
        ("shards.0.source.control", {"kind": "systemd", "unit": ""}, "shards[0].source.control.systemd.unit: "),
        ("shards.0.source.port", 70000, "shards[0].source.port: "),
        ("shards.0.source.port", "mysql", "shards[0].source.port: "),
        ("shards.0.source.datadir", None, "shards[0].source.datadir: is missing"),
        ("shards.0.source.datadir", "data", "shards[0].source: datadir must be an absolute path"),
        ("shards.0.source.socket", "run/s", "shards[0].source: socket must be an absolute path"),
        ("shards.0.source.workdir", "/srv/a/data/work", "shards[0].source: workdir must not lie inside datadir"),
        ("shards.0.source.workdir", "/srv/a/data", "shards[0].source: workdir must not lie inside datadir"),
        ("shards.0.source.workdir", "/srv/a/work/../data/w", "shards[0].source: workdir must not contain '..'"),
        ("shards.0.source.control", {"kind": "magic"}, "shards[0].source.control: "),
        ("shards.0.source.control", {"kind": "systemd"}, "shards[0].source.control.systemd.unit: is missing"),
        ("shards.0.source.control", {"kind": "command", "start": [], "stop": ["x"]}, "control.command.start: "),
        ("shards.0.replicas.1.port", 0, "shards[0].replicas[1].port: "),
        ("shards.0.scratch.name", "", "shards[0].scratch.name: "),
        ("shards.1.name", "shard-1", "two shards are named shard-1"),
        ("shards.1.source.name", "a", "two servers are named a"),
        ("shards.1.source.port", 3306, "two servers share db.example:3306"),
        ("shards.1.source.datadir", "/srv/s/data", "two servers share db.example:/srv/s/data"),
        ("limits", {"lane_groups": 0}, "limits.lane_groups: "),
        ("limits", {"disk_reserve": 0.5}, "limits.disk_reserve: "),
        ("limits", {"lanes": 3}, "limits.lanes: there is no such setting"),
        ("certificates", {"public_keys": ["hunter2"]}, "certificates.public_keys[0]: not a public key: not the base64 of"),
        ("certificates", {"public_keys": "A" * 43 + "="}, "certificates.public_keys: "),
        ("certificates", {"valid_hours": 0}, "certificates.valid_hours: "),
        ("certificates", {"valid_hours": ".inf"}, "certificates.valid_hours: "),
        ("shards.0.announce", [{"kind": "pigeon"}], "shards[0].announce[0]: "),
        ("shards.0.announce", [{"kind": "file", "path": "x.json"}], "shards[0].announce[0].file.path: must be an absolute"),
        ("shards.0.announce", [{"kind": "file", "path": "/srv/../x"}], "announce[0].file.path: must be an absolute path without"),
        ("shards.0.announce", [{"kind": "command", "announce": [], "withdraw": ["x"]}], "announce[0].command.announce: "),
        ("shards.0.announce", [{"kind": "command", "announce": ["x"]}], "announce[0].command.withdraw: is missing"),
        ("shards.0.announce", [{"kind": "http", "url": "ftp://x"}], "announce[0].http.url: must begin with https://"),
        ("shards.0.announce", [{"kind": "file", "path": "/"}], "shards[0].announce[0].file.path: must name a file"),
        ("shards.0.announce", [{"kind": "http", "url": "http://"}], "announce[0].http.url: must begin with https://"),
        ("shards.0.announce", [{"kind": "http", "url": "http://0/x"}], "announce[0].http.url: must be an address of one"),
        ("shards.0.announce", [{"kind": "proxysql", "hostgroup": 1, "host": ""}], "announce[0].proxysql.host: must be the name"),
        ("shards.0.announce", [{"kind": "proxysql", "hostgroup": 1, "host": "::"}], "announce[0].proxysql.host: must be an"),
        ("shards.0.announce", [{"kind": "proxysql", "hostgroup": 1, "port": 0}], "announce[0].proxysql.port: "),
        ("shards.0.announce", [{"kind": "http", "url": "http://x:y/"}], "announce[0].http.url: "),
        ("shards.0.announce", [{"kind": "http", "url": "http://x", "timeout_s": 0}], "announce[0].http.timeout_s: "),
        ("shards.0.announce", [{"kind": "http", "url": "http://x", "method": "GET"}], "announce[0].http.method: "),
        ("shards.0.announce", [{"kind": "proxysql", "hostgroup": -1}], "announce[0].proxysql.hostgroup: "),
        ("shards.0.announce", [{"kind": "airflow_connection", "connection_id": "a b"}], "announce[0].airflow_connection.connection_id: "),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(load: Load, place: str, value: object, said: str) -> None:
    text = mistakes(load, changed((place, value)))
    assert said in text
    assert "1 mistake " in text


def test_all_mistakes_are_told_at_once(load: Load) -> None:
    text = mistakes(
        load,
        changed(
            ("fleet", "Shop Fleet"), ("store.bucket", "x"), ("shards.0.source.port", 0),
            ("shards.0.replicas.0.workdir", "work"), ("shards.0.replicas.0.socket", "s"), ("shards.1.tier", 99), ("colour", "red"),
        ),
    )  # fmt: skip
    assert "6 mistakes" in text
    for place in ("fleet: ", "store.bucket: ", "shards[0].source.port: ", "shards[0].replicas[0]: socket ",
                  "; workdir ",
                  "shards[1].tier: ", "colour: "):  # fmt: skip
        assert place in text


def test_all_that_is_there_twice_is_told_at_once(load: Load) -> None:
    twice = changed(("shards.1.name", "shard-1"), ("shards.1.source", server("a", 0)))
    text = mistakes(load, twice)
    for part in ("two shards are named shard-1", "two servers are named a", "share db.example:3306",
                 "share db.example:/srv/a/data"):  # fmt: skip
        assert part in text


NO_MACHINES = [
    "", " ", "db ", "\t", "0", "0.0", "0.0.0.0", "0x0", "00.0.0.0", "::", "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0", "[::1]", ".",
    "a..b", "db:3306", "http://db", "u@db", "db,other", "x" * 64,
]  # fmt: skip
"""What a library, the resolver or the kernel takes for this machine, or for nothing that it could ask for."""


@pytest.mark.parametrize("host", NO_MACHINES)
def test_a_server_s_host_names_a_machine(load: Load, host: str) -> None:
    assert "shards[0].source.host: must be " in mistakes(load, changed(("shards.0.source.host", host)))


@pytest.mark.parametrize("host", ["db.example", "DB_1", "localhost", "127.0.0.1", "10.0.0.1", "::1", "fd00::1"])
def test_every_name_and_address_of_a_machine_is_taken(load: Load, host: str) -> None:
    assert load(changed(("shards.0.source.host", host))).shards[0].source.host == host


def test_the_same_port_on_two_machines_is_no_mistake(load: Load) -> None:
    load(changed(("shards.1.source.port", 3306), ("shards.1.source.host", "other.example")))


ANNOUNCED = [
    {"kind": "file", "path": "/srv/found/shop.json"},
    {"kind": "command", "announce": ["/opt/announce", "open"], "withdraw": ["/opt/announce", "closed"]},
    {"kind": "http", "url": "https://hooks.example/shop"},
    {"kind": "proxysql", "host": "proxy.example", "hostgroup": 10},
    {"kind": "airflow_connection", "connection_id": "shop"},
]


def test_a_shard_may_be_announced_in_every_way_at_once_and_in_their_order(load: Load) -> None:
    made = load(changed(("shards.0.announce", ANNOUNCED))).shards[0].announce
    assert [one.kind for one in made] == [one["kind"] for one in ANNOUNCED]


def test_two_shards_cannot_be_announced_at_the_same_place(load: Load) -> None:
    here = changed(("shards.0.announce", ANNOUNCED), ("shards.1.announce", ANNOUNCED))
    text = mistakes(load, here)
    for part in ("db.example:/srv/found/shop.json", "hostgroup 10 of ProxySQL proxy.example:6032", "Connection shop"):
        assert f"two announcements share {part}" in text
    assert text.count("share") == 3, "commands and hooks are told which shard it is"
    elsewhere = [{"kind": "file", "path": "/srv/found/shop.json"}, {"kind": "proxysql", "hostgroup": 10}]
    load(changed(("shards.0.announce", elsewhere), ("shards.1.announce", elsewhere), ("shards.1.source.host", "other")))


@pytest.mark.parametrize(
    "url", ["https://joe:hunter2-hunter2@hooks.example", "https://hunter2-hunter2@hooks.example/x"]
)
def test_a_login_in_a_hooks_address_is_refused_and_not_repeated(load: Load, url: str) -> None:
    text = mistakes(load, changed(("shards.0.announce", [{"kind": "http", "url": url}])))
    assert "shards[0].announce[0].http.url: must not hold a login" in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("shard", [], "shard: there is no such setting; did you mean shards?"),
        ("store.endpoint_url", "http://x", "store.endpoint_url: there is no such setting; did you mean endpoint?"),
        ("shards.0.source.data_dir", "/x", "source.data_dir: there is no such setting; did you mean datadir?"),
        ("shards.0.replica", [], "shards[0].replica: there is no such setting; did you mean replicas?"),
        ("limits", {"lane_group": 3}, "limits.lane_group: there is no such setting; did you mean lane_groups?"),
        ("shards.0.source.control", {"kind": "systemctl"}, "did you mean systemd?"),
        ("shards.0.source.control", {"kind": "systemd", "units": "a"}, "there is no such setting; did you mean unit?"),
        ("shards.0.announce", [{"kind": "http", "ulr": "x"}], "there is no such setting; did you mean url?"),
    ],
)  # fmt: skip
def test_a_misspelt_word_is_told_with_the_one_that_was_meant(load: Load, place: str, value: Any, said: str) -> None:
    assert said in mistakes(load, changed((place, value)))


@pytest.mark.parametrize(
    "place",
    ["password", "store.secret_key", "store.access_key", "shards.0.source.password", "shards.0.password",
     "shards.0.source.control.password"],
)  # fmt: skip
def test_a_secret_in_the_file_is_refused_and_not_repeated(load: Load, place: str) -> None:
    text = mistakes(load, changed((place, "hunter2-hunter2")))
    assert "there is no such setting" in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "not a mapping"), ("- a\n- b\n", "not a mapping"), ("just words", "not a mapping"),
     ("a: [1, 2", "is not YAML"), ("a: b: c", "line 1, column 5: "), ("fleet: \x00", "is not YAML"),
     ("a: 1\nb:\n\t- c\n", "line 3, column 1: "), ("x: !!python/object/apply:os.system [ls]", "is not YAML")],
)  # fmt: skip
def test_what_is_no_fleet_file_at_all_is_said_so(load: Load, text: str, said: str) -> None:
    assert said in mistakes(load, text)


def test_a_file_that_is_not_there_or_not_text_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="no fleet file") as missing:
        load_fleet(tmp_path / "none.yaml")
    assert "RELIGHT_FLEET" in missing.value.hint
    (tmp_path / "latin.yaml").write_bytes(b"fleet: caf\xe9")
    for path in (tmp_path, tmp_path / "latin.yaml"):
        with pytest.raises(FleetError, match="cannot be read"):
            load_fleet(path)


def test_an_unknown_shard_is_told_which_ones_there_are(load: Load) -> None:
    with pytest.raises(FleetError, match=r"unknown shard \(shard-9\): the fleet file has shard-1, shard-2"):
        load(GOOD).shard("shard-9")
