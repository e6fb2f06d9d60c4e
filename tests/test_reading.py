"""Broken objects of every kind, broken in every way: a typed error that names them, and nothing else is hidden."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from relight.backups.catalog import load_catalog
from relight.cli.main import application
from relight.errors import ClaimRefused, ObjectCorrupt, ObjectExists, RelightError
from relight.fencing.epochs import Claim, Outcome, claim, give_up, known_epochs, load_epochs, newest, win
from relight.fleet import Fleet, Server, Shard, StoreSettings
from relight.forecast.learning import learn
from relight.incident.order import loads
from relight.incident.outcome import outcomes
from relight.lab.s3 import S3Server
from relight.overview import keeping
from relight.overview.looking import look_over
from relight.overview.promises import foresee
from relight.planning.plan import load_plan
from relight.planning.target import Target
from relight.reading import read_json
from relight.rehearsal.history import load_history, recent
from relight.reporting.page import newest_page, newest_report
from relight.run_files import Checks, Judgement, Lanes, SplitResult, Verdicts
from relight.server.rebuilt import Mark, still_built_by
from relight.site import Run, Site
from relight.step_records import StepRecord, load_records
from relight.store import layout
from relight.store.s3 import S3Store, open_store
from tests.overview import made
from tests.test_layers import PROJECT

LIMITLESS = b"[" * 100_000 + b"]" * 100_000


def newer(content: bytes) -> bytes:
    return json.dumps(json.loads(content) | {"since_then": [1]}).encode()


def version_2(content: bytes) -> bytes:
    return json.dumps(json.loads(content) | {"version": 2}).encode()


def wrong_types(content: bytes) -> bytes:
    return json.dumps({name: [[value]] for name, value in json.loads(content).items()}).encode()


def zoneless(content: bytes) -> bytes:
    """Times without a zone cannot even be compared with others."""
    return content.replace(b'Z"', b'"').replace(b'+00:00"', b'"')


BREAKAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _content: b"", "blank": lambda _content: b" \n", "cut": lambda content: content[: len(content) // 2],
    "not JSON": lambda _content: b"<html>", "null": lambda _content: b"null", "a list": lambda _content: b"[]",
    "a number": lambda _content: b"1e999", "wrong types": wrong_types, "of a newer version": newer,
    "version 2": version_2, "not UTF-8": lambda content: content.replace(b'"', b'"\xff\xfe', 3),
    "nested": lambda _content: LIMITLESS, "zeros": lambda content: bytes(len(content)), "without a zone": zoneless,
}  # fmt: skip


@pytest.mark.parametrize("how", BREAKAGES)
@pytest.mark.parametrize("kind", [Claim, Outcome, StepRecord, Mark, Lanes, SplitResult, Judgement, Verdicts, Checks])
def test_what_is_broken_is_one_typed_error_that_names_it(kind: type[BaseModel], how: str) -> None:
    whole = b'{"shard": "a", "run_id": "r", "at": "2026-11-22T19:02:11Z"}'
    with pytest.raises(ObjectCorrupt) as caught:
        read_json(kind, BREAKAGES[how](whole), on="a/key", what="it")
    assert caught.value.on == "a/key"
    assert caught.value.why
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    assert len(caught.value.why) <= 200


# Who may turn stored text into values, and why not by way of relight.reading.
OF_THEIR_OWN = {
    "include/relight/reading.py": "it is the way",
    "include/relight/certificate/signing.py": "its own text, just before it is signed",
    "include/relight/certificate/verifying.py": "what a signature covers is read by rules of its own, and refused alike",
    "include/relight/certificate/canonical.py": "the same",
    "include/relight/lane/lane_progress.py": "a column of the server's own table, written in the same transaction",
    "include/relight/verify/columns.py": "the data of applications",
    "include/relight/fleet_file.py": "the fleet file, which has an error of its own",
    "include/relight/credentials.py": "a variable of the environment, which has an error of its own",
    "include/relight/bench/": "its own results and children",
    "include/relight/lab/": "the lab's own folder",
    "plugins/relight_airflow/simulated.py": "a made-up fleet's times",
    "plugins/relight_airflow/connection.py": "Airflow's own connection, which has an error of its own",
    "plugins/relight_airflow/notify.py": "an Airflow variable, which has an error of its own",
    "plugins/relight_airflow/pages/runs.py": "what the same Airflow's task state store keeps",
}
READS = {"model_validate_json", "loads", "load", "safe_load", "validate_json", "parse_raw"}
OF = {"json", "yaml", "pickle", "tomllib", "marshal"}


def readers(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in READS:
            of = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            if node.func.attr not in ("loads", "load", "safe_load") or of in OF:
                yield node.lineno


def test_stored_text_becomes_a_value_in_one_place_only() -> None:
    found = {
        f"{file.relative_to(PROJECT)}:{line}" for folder in ("include", "plugins", "dags")
        for file in (PROJECT / folder).rglob("*.py") for line in readers(ast.parse(file.read_text(encoding="utf-8")))
    }  # fmt: skip
    assert not [one for one in found if not one.startswith(tuple(OF_THEIR_OWN))]
    assert not [name for name in OF_THEIR_OWN if not any(one.startswith(name) for one in found)]


# Shard "a" has one broken object of each kind in turn, shard "b" is whole.

RUN = Run(run_id="run-1", shard="a", target=Target(kind="latest"))
AT = "2026-11-22T19:02:11Z"
CLAIM = {
    "shard": "a", "epoch": 1, "run_id": "run-1", "server": "a-1", "host": "127.0.0.1", "port": 1, "machine": "m",
    "who": "w", "why": "y", "at": AT,
}  # fmt: skip
OUTCOME = {"shard": "a", "epoch": 1, "kind": "opened", "run_id": "run-1", "who": "w", "why": "y", "at": AT}
RECORD = {"step": "plan", "key": "", "started": AT, "ended": AT, "outcome": "done", "summary": {}}
REHEARSAL = {
    "shard": "a", "run_id": "r", "target": "latest", "began": AT, "ended": AT, "outcome": "done", "certificate": "c",
}  # fmt: skip
TIMING = {
    "run_id": "r", "mode": "promote", "ended": AT, "tables": 1, "steps": [{"step": "replay", "seconds": 1, "tasks": 1}],
    "load": {"shard": "a", "tier": 1, "host": "", "hardware": "", "network": "", "stored_bytes": 1, "data_bytes": 1,
             "log_bytes": 1, "segments": 1, "databases": 1, "replicas": 0},
}  # fmt: skip
FORECAST = {"shard": "a", "total": {"seconds": 1, "low": 1, "high": 1}, "steps": [], "learned_from": 0}
SEGMENT = layout.segment("a", made.SERVER, "binlog.000009", "9" * 64)

OBJECTS: dict[str, tuple[str, dict[str, Any]]] = {
    "claim": ("a/fence/000001.claim.json", CLAIM),
    "outcome": ("a/fence/000001.outcome.json", OUTCOME),
    "step record": (f"{RUN.folder_key}/steps/plan.1.json", RECORD),
    "rehearsal record": ("a/rehearsals/20261122T190211000000Z-r.json", REHEARSAL),
    "timing": ("_fleet/timings/20261122T190211000000Z-r.json", TIMING),
    "forecast": (RUN.forecast_key, FORECAST),
    "report": (f"{RUN.folder_key}/report-20261122T190211Z.json", {"run": {}, "outcome": "done"}),
    "report page": (f"{RUN.folder_key}/report-20261122T190211Z.html", {}),
    "incident's run report": ("a/runs/restore__i-a/report-20261122T190211Z.json", {"problems": [], "seconds": 1.0}),
    "snapshot": ("a/snapshots/20261122T190211Z-1a2b3c4d/manifest.json", {"id": "20261122T190211Z-1a2b3c4d"}),
    "segment": (layout.segment_manifest(SEGMENT), {"key": SEGMENT}),
    "plan": (RUN.plan_key, {"shard": "a"}),
    "overview": (layout.overview(datetime.now(UTC) - timedelta(minutes=1)), {"fleet": "test"}),
}  # fmt: skip


@pytest.fixture
def here(store_settings: StoreSettings, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Two shards in a real store, and a fleet file for commands; no server runs."""
    from relight.credentials import EnvironmentCredentials
    from relight.progress import Silent
    from tests.conftest import environment_of

    store = open_store(store_settings, s3_server.login)

    def server(name: str) -> Server:
        home = tmp_path / name
        return Server.model_validate({
            "name": name, "host": f"127.16.{ord(name[0])}.{ord(name[-1])}", "port": 3306, "datadir": home / "data", "socket": home / "s",
            "options_file": home / "my.cnf",
            "workdir": home / "work", "mysqld": "/bin/true", "mysqlbinlog": "/bin/true", "control": {"kind": "process"},
        })  # fmt: skip

    shards = tuple(Shard(name=name, source=server(f"{name}-1"), scratch=server(f"{name}-s")) for name in ("a", "b"))
    fleet = Fleet(fleet="test", store=store_settings, shards=shards)
    for name in ("a", "b"):
        made.snapshot(store, name, age=3600)
        made.segment(store, name, 1, commit_age=60)
    made.rehearsal(store, "b", age=60)
    environment = environment_of(_Logins(), s3_server.login)  # type: ignore[arg-type]
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    (tmp_path / "fleet.yaml").write_text(fleet.model_dump_json(exclude_none=True))
    monkeypatch.setenv("RELIGHT_FLEET", str(tmp_path / "fleet.yaml"))
    return Site(fleet, store, EnvironmentCredentials(environment), Silent())


class _Logins:
    from relight.credentials import Login

    admin = replication = Login("nobody", "nothing")


def put(site: Site, kind: str, how: str) -> str:
    key, whole = OBJECTS[kind]
    if kind == "outcome":
        with suppress(ObjectExists):  # a broken one
            site.store.put(OBJECTS["claim"][0], json.dumps(CLAIM).encode())
    content = BREAKAGES[how](json.dumps(whole).encode())
    if content:
        site.store.put(key, content)
    return key


def run_command(*words: str) -> tuple[int, str]:
    """Exit status and everything it says; a traceback fails the test by itself."""
    from typer.testing import CliRunner

    result = CliRunner().invoke(application(), list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


SOME = ("cut", "of a newer version", "version 2", "not UTF-8", "nested", "null", "without a zone")


@pytest.mark.parametrize("how", SOME)
def test_no_kind_of_broken_object_ends_what_shows_the_fleet_or_hides_another_shard(here: Site, how: str) -> None:
    for kind in OBJECTS:
        put(here, kind, how)
    now = datetime.now(UTC)
    overview = look_over(here, keeping.newest(here.store, now))
    assert {card.shard for card in overview.cards} == {"a", "b"}
    whole = next(card for card in overview.cards if card.shard == "b")
    assert whole.snapshot
    assert whole.last_rehearsal == "done"
    assert not [text for text in whole.warnings if "read" in text]
    assert [one.shard for one in load_history(here.store, here.fleet) if one.proof] == ["b"]
    with pytest.raises(ObjectCorrupt, match="rehearsal"):
        recent(here.store, "a")
    assert len(load_catalog(here.store, "a").unreadable) == 2
    assert {load.shard: bool(load.data_bytes) for load in loads(here.store, here.fleet.shards, parallel=2)} == {
        "a": True, "b": True,
    }  # fmt: skip
    assert learn(here.store).unreadable
    assert list(keeping.history(here.store, now)) == []
    assert load_records(here.store, RUN) == []
    assert newest_report(here.store, RUN) is None
    assert newest_page(here.store, RUN) is not None
    (came,) = outcomes(here.store, "i", Target(kind="latest"), {"a": "failed"}, parallel=1)
    assert came.outcome == "failed"
    if how != "without a zone":  # a forecast has no times
        with pytest.raises(RelightError):
            foresee(here, RUN)  # neither forecast nor plan can be read


@pytest.mark.parametrize("how", ["cut", "of a newer version", "nested"])
def test_commands_say_what_is_broken_and_show_the_rest(here: Site, how: str) -> None:
    keys = {kind: put(here, kind, how) for kind in OBJECTS}
    for command in (["fleet"], ["rehearsals"], ["forecast"], ["catalog", "a"], ["catalog", "b"], ["plan", "b"]):
        status, said = run_command(*command)
        assert "Traceback" not in said
        if command[-1] != "a":
            assert status == 0, said
    flat = "".join(run_command("rehearsals")[1].split())
    assert keys["rehearsal record"] in flat
    status, said = run_command("plan", "a")
    assert "Traceback" not in said
    status, said = run_command("fence", "show", "a")
    assert status == 1
    assert "not known" in said
    assert run_command("fence", "show", "b")[0] == 0


@pytest.mark.parametrize("how", [how for how in BREAKAGES if how != "empty"])
@pytest.mark.parametrize("kind", ["claim", "outcome"])
def test_a_claim_or_outcome_that_cannot_be_read_is_never_taken_for_nobody_has_the_shard(
    here: Site, kind: str, how: str
) -> None:
    key = put(here, kind, how)
    mine = Claim.model_validate(CLAIM | {"run_id": "run-2", "epoch": 0})
    held = Claim.model_validate(CLAIM)
    for attempt in (
        lambda: claim(here.store, mine), lambda: newest(here.store, "a"), lambda: load_epochs(here.store, "a"),
        lambda: win(here.store, held, server_uuid="u", who="w", why="y"),
        lambda: give_up(here.store, "a", 1, who="w", why="y"),
    ):  # fmt: skip
        with pytest.raises((ObjectCorrupt, ClaimRefused)) as caught:
            attempt()
        assert key in str(caught.value)
    assert [one.key for one in here.store.list("a/fence/")] == sorted({OBJECTS["claim"][0], key})
    assert len(known_epochs(here.store, "a")[1]) == 1


@pytest.mark.parametrize("kind", ["claim", "outcome"])
def test_a_claim_of_another_shard_or_epoch_is_not_believed(here: Site, kind: str) -> None:
    key, whole = OBJECTS[kind]
    for change in ({"shard": "b"}, {"epoch": 2}):
        store: S3Store = here.store  # type: ignore[assignment]
        shard = f"x{len(list(store.list('')))}"
        if kind == "outcome":
            store.put(f"{shard}/fence/000001.claim.json", json.dumps(CLAIM | {"shard": shard}).encode())
        store.put(key.replace("a/", f"{shard}/", 1), json.dumps(whole | {"shard": shard} | change).encode())
        with pytest.raises(ObjectCorrupt, match="believed"):
            load_epochs(store, shard)


@pytest.mark.parametrize("how", BREAKAGES)
def test_a_plan_that_cannot_be_read_is_not_taken_for_none(here: Site, how: str) -> None:
    key = OBJECTS["plan"][0]
    here.store.put(key, BREAKAGES[how](json.dumps({"shard": "a"}).encode()) or b" ")
    with pytest.raises(ObjectCorrupt, match="plan"):
        load_plan(here.store, RUN)


@pytest.mark.parametrize("how", [how for how in BREAKAGES if how not in ("without a zone", "version 2")])
def test_a_mark_that_cannot_be_read_is_nobody_s_and_that_is_said(tmp_path: Path, how: str) -> None:
    whole = Mark(run_id="run-1", state="restored").model_dump_json().encode()
    (tmp_path / "relight.json").write_bytes(BREAKAGES[how](whole))
    said: list[str] = []
    assert still_built_by(tmp_path, "run-1", said.append) is False
    assert "set aside" in said[0]
