"""Manifests that lie: each is refused by a typed error that names it, before anything is made of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.backups.catalog import load_catalog
from relight.backups.distrust import read_segment, read_snapshot
from relight.backups.names import data_path
from relight.errors import ObjectCorrupt
from relight.fleet import StoreSettings
from relight.lab.s3 import S3Server
from relight.store.s3 import open_store

SERVER = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
SNAPSHOT = "20261122T190211Z-3e11fa47"
FOLDER = f"shard-1/snapshots/{SNAPSHOT}"
KEY = f"{FOLDER}/manifest.json"
SEGMENT = f"shard-1/segments/{SERVER}/binlog.000001.00000000"

Change = Callable[[dict[str, Any]], object]


def snapshot() -> dict[str, Any]:
    """An honest one: two files in one part, one of them split over two."""
    return {
        "id": SNAPSHOT, "shard": "shard-1", "server_uuid": SERVER, "server_name": "a", "mysql_version": "9.7.4",
        "taken_at": "2026-11-22T19:02:11Z", "gtids": f"{SERVER}:1-5", "databases": ["d"], "tables": [],
        "files": [["ibdata1", 10], ["d/t.ibd", 7], ["d/empty", 0]], "directories": ["d"], "data_bytes": 17,
        "stored_bytes": 30,
        "parts": [
            {"key": f"{FOLDER}/parts/0001.zst", "sha256": "0" * 64, "size": 10, "extents": [
                {"path": "ibdata1", "offset": 0, "length": 10}, {"path": "d/t.ibd", "offset": 0, "length": 3}]},
            {"key": f"{FOLDER}/parts/0002.zst", "sha256": "1" * 64, "size": 20, "extents": [
                {"path": "d/t.ibd", "offset": 3, "length": 4}]},
        ],
    }  # fmt: skip


def segment() -> dict[str, Any]:
    return {
        "key": f"{SEGMENT}.zst", "shard": "shard-1", "server_uuid": SERVER, "file": "binlog.000001",
        "previous_gtids": "", "gtids": f"{SERVER}:1-5", "first_commit": "2026-11-22T19:02:11Z",
        "last_commit": "2026-11-22T19:02:11Z", "transactions": 5, "log_bytes": 1000, "stored_bytes": 100,
        "sha256": "0" * 64, "log_sha256": "0" * 64, "shipped_at": "2026-11-22T19:02:11Z",
    }  # fmt: skip


def named(path: str) -> Change:
    """A file, and the part that holds it, of another name."""

    def change(manifest: dict[str, Any]) -> None:
        manifest["files"][0][0] = path
        manifest["parts"][0]["extents"][0]["path"] = path

    return change


def also(**values: object) -> Change:
    return lambda manifest: manifest.update(values)


HOSTILE_NAMES = {
    "above": "../../x", "absolute": "/abs/x", "root": "/", "here": ".", "up": "..", "up inside": "d/../../x",
    "empty": "", "double slash": "d//x", "ends in slash": "d/", "begins with dot slash": "./x", "NUL": "x\0y",
    "backslash": "..\\x", "newline": "x\ny", "escape": "x\x1b[2J", "too long": "x" * 256, "too deep": "/".join("d" * 40),
    "its settings": "mysqld-auto.cnf", "its identity": "auto.cnf", "settings in capitals": "Mysqld-Auto.CNF",
    "settings below": "d/my.cnf", "a key": "private_key.pem", "what it loads": "mysqld.my", "our mark": "relight.json",
    "what we write beside": ".relight.json.abcdef.new",
}  # fmt: skip

HOSTILE_SNAPSHOTS: dict[str, Change] = {
    **{f"a file: {what}": named(path) for what, path in HOSTILE_NAMES.items()},
    **{f"a directory: {what}": also(directories=["d", path]) for what, path in HOSTILE_NAMES.items()},
    "a file twice": lambda m: m["files"].append(["d/empty", 0]),
    "a directory twice": also(directories=["d", "d"]),
    "a file that is a directory": lambda m: m["files"].append(["d", 0]),
    "a file below a file": lambda m: m["files"].append(["ibdata1/x", 0]),
    "a file below nothing": lambda m: m["files"].append(["other/x", 0]),
    "an extent of no file": lambda m: m["parts"][0]["extents"].append({"path": "nowhere", "offset": 0, "length": 1}),
    "an extent behind the end": lambda m: m["parts"][1]["extents"][0].update(length=5),
    "an extent that overlaps": lambda m: m["parts"][1]["extents"][0].update(offset=2, length=5),
    "an extent twice": lambda m: m["parts"][1]["extents"].append({"path": "d/t.ibd", "offset": 3, "length": 4}),
    "a gap": lambda m: m["parts"][1]["extents"][0].update(offset=4, length=3),
    "bytes that are missing": lambda m: m["parts"].pop(),
    "an empty extent": lambda m: m["parts"][1]["extents"].append({"path": "d/t.ibd", "offset": 7, "length": 0}),
    "a negative offset": lambda m: m["parts"][1]["extents"][0].update(offset=-3),
    "a negative length": lambda m: m["parts"][1]["extents"][0].update(length=-4),
    "a negative size": lambda m: m["files"][2].__setitem__(1, -1),
    "a size without end": lambda m: m["files"][2].__setitem__(1, 10**400),
    "a size of an exabyte": lambda m: m["files"][2].__setitem__(1, 2**60),
    "less data than there is": also(data_bytes=16),
    "no stored bytes": also(stored_bytes=0),
    "negative stored bytes": also(stored_bytes=-30),
    "a part elsewhere": lambda m: m["parts"][0].update(key="shard-2/snapshots/x/parts/0001.zst"),
    "a part of another snapshot": lambda m: m["parts"][0].update(key="shard-1/snapshots/other/parts/0001.zst"),
    "a part above": lambda m: m["parts"][0].update(key=f"{FOLDER}/parts/../../../x.zst"),
    "a part twice": lambda m: m["parts"][1].update(key=m["parts"][0]["key"]),
    "an empty part": lambda m: m["parts"][0].update(size=0),
    "a digest that is none": lambda m: m["parts"][0].update(sha256="0" * 63),
    "a digest in capitals": lambda m: m["parts"][0].update(sha256="A" * 64),
    "another shard": also(shard="shard-2"),
    "another id": also(id="20261122T190211Z-00000000"),
    "an id that leads elsewhere": also(id="../../x"),
    "a time without a zone": also(taken_at="2026-11-22T19:02:11"),
    "GTIDs that are none": also(gtids="x:1-5"),
    "GTIDs in no order": also(gtids=f"{SERVER}:5-1"),
    "a GTID of too many digits": also(gtids=f"{SERVER}:1-" + "9" * 5000),
    "a server that is none": also(server_uuid="../x"),
    "negative rows": also(tables=[{"database": "d", "name": "t", "engine": "InnoDB", "rows": -1, "create": ""}]),
    "a newer version": also(version=2),
    "an unknown field": also(signed_by="x"),
    "a list where a text belongs": also(id=[]),
    "nothing where a list belongs": also(files=None),
}  # fmt: skip

HOSTILE_SEGMENTS: dict[str, Change] = {
    "a file that leads elsewhere": also(file="../x"),
    "a file with a slash": also(file="d/binlog.000001"),
    "another file": also(file="binlog.000002"),
    "another server": also(server_uuid=SERVER.replace("3", "4")),
    "a server that is none": also(server_uuid="../x"),
    "another shard": also(shard="shard-2"),
    "another shard's log": also(key=f"{SEGMENT}.zst".replace("shard-1", "shard-2")),
    "a log elsewhere": also(key="shard-1/segments/../x.zst"),
    "another log's digest": also(log_sha256="1" * 64),
    "a digest that is none": also(sha256=""),
    "negative bytes": also(log_bytes=-1),
    "bytes without end": also(log_bytes=2**60),
    "negative transactions": also(transactions=-1),
    "a time without a zone": also(last_commit="2026-11-22T19:02:11"),
    "a time that is none": also(shipped_at="yesterday"),
    "GTIDs that are none": also(previous_gtids="x:1-5"),
    "a survey that is none": also(survey={"bytes": {"d": -1}}),
    "a newer version": also(version=2),
}  # fmt: skip


def changed(manifest: dict[str, Any], change: Change) -> bytes:
    change(manifest)
    return json.dumps(manifest).encode()


def test_honest_manifests_are_believed() -> None:
    assert read_snapshot(json.dumps(snapshot()).encode(), KEY).data_bytes == 17
    assert read_segment(json.dumps(segment()).encode(), f"{SEGMENT}.json").transactions == 5


@pytest.mark.parametrize("what", HOSTILE_SNAPSHOTS)
def test_a_snapshot_s_manifest_that_lies_is_refused_by_name(what: str) -> None:
    with pytest.raises(ObjectCorrupt) as caught:
        read_snapshot(changed(snapshot(), HOSTILE_SNAPSHOTS[what]), KEY)
    assert caught.value.on == KEY
    assert caught.value.why
    assert caught.value.hint


@pytest.mark.parametrize("what", HOSTILE_SEGMENTS)
def test_a_segment_s_manifest_that_lies_is_refused_by_name(what: str) -> None:
    with pytest.raises(ObjectCorrupt) as caught:
        read_segment(changed(segment(), HOSTILE_SEGMENTS[what]), f"{SEGMENT}.json")
    assert caught.value.on == f"{SEGMENT}.json"
    assert caught.value.hint


def test_a_manifest_of_a_newer_version_is_said_to_be_one() -> None:
    with pytest.raises(ObjectCorrupt) as caught:
        read_snapshot(changed(snapshot(), also(version=2, parent="x")), KEY)
    assert "version of Relight" in caught.value.hint


def test_the_catalog_names_what_lies_and_keeps_the_rest(store_settings: StoreSettings, s3_server: S3Server) -> None:
    store = open_store(store_settings, s3_server.login)
    honest = KEY.replace("190211", "190212")
    text = json.dumps(snapshot()).replace("190211Z", "190212Z")
    store.put(honest, text.encode())
    store.put(KEY, changed(snapshot(), named("../../x")))
    store.put(f"{SEGMENT}.json", changed(segment(), also(gtids="x:1-5")))
    catalog = load_catalog(store, "shard-1")
    assert [one.reference.manifest_key for one in catalog.snapshots] == [honest]
    assert {one.key for one in catalog.unreadable} == {KEY, f"{SEGMENT}.json"}
    assert all(one.why for one in catalog.unreadable)


@given(st.text(st.sampled_from("./\\a\0\n ~é"), max_size=12) | st.text(max_size=40))
def test_a_name_that_is_taken_stays_below_its_directory(path: str) -> None:
    try:
        data_path(path)
    except ValueError:
        return
    components = path.split("/")
    assert all(one not in ("", ".", "..") for one in components)
    assert "\0" not in path
    assert not path.startswith("/")
