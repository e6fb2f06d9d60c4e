"""The installed ``relight`` command: exit statuses, one line and a hint, never a traceback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from relight.fleet import Server
from relight.lab.s3 import S3Server
from relight.lab.template import Logins
from relight.planning.target import FORMS
from tests.conftest import environment_of
from tests.support.servers import Servers

Done = subprocess.CompletedProcess[str]
RELIGHT = Path(sys.executable).parent / "relight"
GTID = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1"


@pytest.fixture(scope="module")
def source(module_servers: Servers) -> Server:
    server = module_servers.make("source")
    with module_servers.connect(server) as session:
        session.run("CREATE DATABASE d")
        session.run("CREATE TABLE d.t (id INT PRIMARY KEY)")
        session.run("INSERT INTO d.t VALUES (1), (2)")
    return server


@pytest.fixture(scope="module")
def fleet(source: Server, s3_server: S3Server) -> dict[str, Any]:
    """The document of a fleet file."""
    return {
        "fleet": "test",
        "store": {"bucket": s3_server.bucket, "prefix": "cli", "endpoint": s3_server.endpoint},
        "shards": [{"name": "shard-1", "source": source.model_dump(mode="json", exclude_none=True)}],
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def relight(fleet: dict[str, Any], folder: Path, logins: Logins, s3_server: S3Server) -> Callable[..., Done]:
    """Runs the command as a shell would, in a folder without a lab."""
    file = folder / "fleet.yaml"
    file.write_text(yaml.safe_dump(fleet), encoding="utf-8")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RELIGHT_")}
    environment = {**plain, **environment_of(logins, s3_server.login), "RELIGHT_FLEET": str(file),
                   "RELIGHT_LAB": str(folder / "no-lab")}  # fmt: skip

    def call(*arguments: str, **changed: str | None) -> Done:
        env = {name: value for name, value in {**environment, **changed}.items() if value is not None}
        return subprocess.run(
            [RELIGHT, *arguments], env=env, cwd=folder, text=True, capture_output=True, check=False, timeout=120
        )

    return call


Relight = Callable[..., Done]


@pytest.fixture(scope="module", autouse=True)
def backed_up(relight: Relight) -> None:
    done = relight("backup", "full", "shard-1", "--json")
    assert done.returncode == 0, done.stderr
    assert [one["rows"] for one in json.loads(done.stdout)] == [2]


def assert_one_line_and_a_hint(done: Done, said: str) -> None:
    """At the end of standard error, behind what progress there was."""
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    line, hint = done.stderr.splitlines()[-2:]
    assert (line.split(": ")[0], hint.split(": ")[0]) == ("relight", "hint"), done.stderr
    assert done.stderr.count("relight: ") == 1
    assert said in line


@pytest.mark.parametrize("command", [("catalog",), ("plan",), ("backup", "logs")])
def test_what_a_script_reads_is_json_and_nothing_else(relight: Relight, command: tuple[str, ...]) -> None:
    done = relight(*command, "shard-1", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


@pytest.mark.parametrize("command", [("plan",), ("restore",), ("backup", "logs")])
def test_an_unknown_shard_is_told_which_ones_there_are(relight: Relight, command: tuple[str, ...]) -> None:
    assert_one_line_and_a_hint(relight(*command, "shard-9"), "unknown shard (shard-9): the fleet file has shard-1")


@pytest.mark.parametrize(
    ("command", "target", "said"),
    [
        ("restore", "yesterday", "not a target"),
        ("restore", "time:2101-01-01T00:00:00Z", "in the future"),
        ("plan", "time:2026-13-40T00:00:00Z", "not a time"),
        ("plan", "time:2026-11-22T19:00:00", "without a time zone"),
        ("plan", "time:2001-01-01T00:00:00Z", "before the first snapshot"),
        ("plan", "gtid:42", "malformed GTID"),
        ("plan", f"gtid:{GTID}-5", "not a single GTID"),
        ("plan", f"gtid:{GTID}", "no log in the store holds the transaction"),
        ("plan", "before:42", "malformed GTID"),
        ("plan", f"before:{GTID}", "no log in the store holds the transaction"),
        ("restore", "position:binlog.000001:3", "the first event of a log file lies at 4"),
        ("plan", "position:binlog.000001", "not a position of a binary log"),
        ("plan", "position:binlog.999999:4711", "the store has no log file of that name"),
    ],
)
def test_a_target_that_is_none_or_out_of_reach_is_refused(
    relight: Relight, command: str, target: str, said: str
) -> None:
    assert_one_line_and_a_hint(relight(command, "shard-1", "--target", target), said)


def test_a_living_server_is_not_restored_over(relight: Relight, source: Server, module_servers: Servers) -> None:
    done = relight("restore", "shard-1", "--run-id", "alive")
    assert_one_line_and_a_hint(done, "the machine refuses to be rebuilt (source)")
    assert "hint: nothing was touched" in done.stderr
    with module_servers.connect(source) as session:
        assert session.value("SELECT COUNT(*) FROM d.t") == 2


def test_a_run_that_did_not_get_far_enough_cannot_be_validated(relight: Relight) -> None:
    assert_one_line_and_a_hint(relight("validate", "shard-1", "--run-id", "never"), "no lanes yet (never)")


def test_a_store_that_is_down_is_said_within_seconds(relight: Relight, fleet: dict[str, Any], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    document = {**fleet, "store": {**fleet["store"], "endpoint": f"http://127.0.0.1:{port}"}}
    file = tmp_path / "fleet.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    assert_one_line_and_a_hint(relight("catalog", "shard-1", "--fleet", str(file)), "store")


@pytest.mark.parametrize("changed", [{"RELIGHT_STORE_PASSWORD": "hunter2-x"}, {"RELIGHT_STORE_USER": "nobody"}])
def test_wrong_store_credentials_are_said_and_never_shown(relight: Relight, changed: dict[str, str]) -> None:
    done = relight("plan", "shard-1", **changed)
    assert_one_line_and_a_hint(done, "credentials")
    assert "hunter2" not in done.stderr


def test_a_wrong_password_of_the_server_is_said_and_never_shown(relight: Relight) -> None:
    done = relight("backup", "logs", "shard-1", RELIGHT_ADMIN_PASSWORD="hunter2-x")
    assert_one_line_and_a_hint(done, "refused the login (source)")
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize("name", ["RELIGHT_STORE_PASSWORD", "RELIGHT_ADMIN_USER"])
def test_a_missing_variable_is_named(relight: Relight, name: str) -> None:
    assert_one_line_and_a_hint(relight("backup", "logs", "shard-1", **{name: None}), f"not set: {name}")


def test_all_mistakes_of_a_fleet_file_are_on_one_line(relight: Relight, fleet: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(yaml.safe_dump({**fleet, "fleet": "No Good", "store": {"bucket": "x"}, "password": "p"}))
    done = relight("catalog", "shard-1", "--fleet", str(file))
    assert_one_line_and_a_hint(done, "fleet file has 3 mistakes")
    for place in ("fleet: ", "store.bucket: ", "password: "):
        assert place in done.stderr


@pytest.mark.parametrize("arguments", [(), ("--fleet", "missing.yaml")])
def test_without_a_fleet_file_the_ways_to_name_one_are_told(relight: Relight, arguments: tuple[str, ...]) -> None:
    done = relight("catalog", "shard-1", *arguments, RELIGHT_FLEET=None)
    assert_one_line_and_a_hint(done, "no fleet file")
    assert "fleet" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("plan", "shard-1", "--targets", "latest"), ("restore", "shard-1", "--mode", "guess"), ("restore",)],
)  # fmt: skip
def test_wrong_usage_ends_with_2_and_says_how_it_is_used(relight: Relight, arguments: tuple[str, ...]) -> None:
    done = relight(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: relight" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("columns", ["80", "200"])
@pytest.mark.parametrize("command", ["plan", "restore", "rehearse"])
def test_help_shows_every_kind_of_target_whole(relight: Relight, command: str, columns: str) -> None:
    words = relight(command, "--help", COLUMNS=columns).stdout.split()
    assert " ".join(FORMS.split()) in " ".join(words)


@pytest.mark.parametrize("arguments", [("--help",), ("restore", "--help")])
def test_help_is_no_mistake(relight: Relight, arguments: tuple[str, ...]) -> None:
    done = relight(*arguments)
    assert done.returncode == 0
    assert "Usage: relight" in done.stdout


AIRFLOW = {"RELIGHT_AIRFLOW_USER": "pager", "RELIGHT_AIRFLOW_PASSWORD": "secret"}


@pytest.mark.parametrize(
    "words",
    [
        ("shard-1", "shard-2"), ("shard-1", "--wait"), ("shard-1", "--incident", "i"),
        ("shard-1", "--via-airflow", "--run-id", "r"),
    ],
)  # fmt: skip
def test_options_of_a_restore_that_do_not_go_together_are_wrong_usage(relight: Relight, words: tuple[str, ...]) -> None:
    done = relight("restore", *words)
    assert done.returncode == 2
    assert "--via-airflow" in done.stderr or "--incident" in done.stderr


def test_an_incident_is_called_as_airflow_can_call_a_run(relight: Relight) -> None:
    done = relight("restore", "shard-1", "--via-airflow", "--incident", "!?", **AIRFLOW)
    assert_one_line_and_a_hint(done, "an incident needs a name")


def test_an_airflow_whose_address_is_not_known_or_that_is_not_there_is_said_so(relight: Relight) -> None:
    assert_one_line_and_a_hint(relight("status", "inc-7", **AIRFLOW), "Airflow's address is not known")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
        done = relight("status", "inc-7", "--airflow", address, **AIRFLOW)
    assert done.returncode == 5, "not known is not failed"
    assert "Airflow does not answer" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    "command",
    ["catalog", "plan", "restore", "abandon", "guard", "fleet", "backup", "quarantine", "rehearsals", "status"],
)
def test_a_command_loads_neither_the_compiled_loops_nor_what_another_one_needs_to_be_understood(command: str) -> None:
    """They take seconds of a processor, and none of these needs them to say what it wants."""
    script = (
        "import sys; sys.argv = ['relight', sys.argv[1], '--help']\n"
        "from relight.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = ('numba', 'airflow', 'relight.binlog.kernels', 'relight.recover', 'relight.lab.demo')\n"
        "print(sorted(set(heavy) & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, command], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    "words", [("catalog", "shard-1"), ("plan", "shard-1"), ("quarantine",), ("fence", "show", "shard-1")]
)
def test_a_command_that_reads_no_log_never_loads_what_reads_them(relight: Relight, words: tuple[str, ...]) -> None:
    done = relight(*words, PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0, done.stderr
    assert "relight.binlog.kernels" not in done.stderr
