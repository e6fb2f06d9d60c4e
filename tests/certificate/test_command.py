"""``relight certificate``: works anywhere, trusts what it is told to, says why not in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from relight.certificate.document import SCHEMA_FILE
from relight.certificate.signing import SigningKey, own_key
from relight.certificate.verifying import verify
from relight.cli.main import application
from relight.credentials import EnvironmentCredentials
from relight.fleet_file import load_fleet
from relight.keys import fingerprint
from tests.support.certificates import KEY, OTHER_KEY, SECRET, certificate, check, table

OWN = {"RELIGHT_CERTIFICATE_USER": "night shift", "RELIGHT_CERTIFICATE_PASSWORD": SECRET}
Command = Callable[..., Result]


@pytest.fixture
def relight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs the command in a place without a fleet and without a lab."""
    for name in (*OWN, "RELIGHT_FLEET", "RELIGHT_STORE_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RELIGHT_LAB", str(tmp_path / "no-lab"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, content: bytes | None = None, **environment: str) -> Result:
        return CliRunner().invoke(application(), ["certificate", *arguments], input=content, env=environment)

    return call


@pytest.fixture
def file(tmp_path: Path) -> str:
    return written(tmp_path / "certificate.json", KEY)


def written(path: Path, key: SigningKey, **changed: Any) -> str:
    now = datetime.now(UTC)
    times = {"issued_at": now, "expires_at": now + timedelta(hours=1)}
    path.write_bytes(key.sign(certificate(**{**times, **changed})))
    return str(path)


def fleet_file(path: Path, *keys: str) -> str:
    server = {"name": "a", "host": "db.example", "port": 3306, "datadir": "/srv/a/data", "socket": "/srv/a/s",
              "options_file": "/srv/a/my.cnf", "workdir": "/srv/a/work", "control": {"kind": "process"}}  # fmt: skip
    document = {"fleet": "shop", "store": {"bucket": "none-is-asked"}, "shards": [{"name": "shard-1", "source": server}],
                "certificates": {"public_keys": list(keys)}}  # fmt: skip
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return str(path)


def assert_refused(done: Result, said: str) -> None:
    assert (done.exit_code, done.stdout) == (1, "")
    line, hint = done.stderr.splitlines()
    assert (line.split(": ")[0], hint.split(": ")[0]) == ("relight", "hint")
    assert said in line
    assert SECRET not in done.output


def test_a_certificate_that_holds_is_shown_on_one_screen(relight: Command, file: str) -> None:
    done = relight("verify", file, "--key", KEY.public)
    assert done.exit_code == 0, done.output
    for shown in (
        "shard-1", "manual-1, to be promoted", "shard-1-source at 127.0.0.1:3306", "2026-11-22T18:55:11Z (latest)",
        "2 match", "24 rows", "checksums", "rows shop: a view", "Ada: it was looked at", "valid until", f"night shift, {fingerprint(KEY.public)}",
    ):  # fmt: skip
        assert shown in done.stdout, shown
    assert len(done.stdout.splitlines()) <= 24


def test_doubts_are_shown_and_what_does_not_fit_is_counted(relight: Command, tmp_path: Path) -> None:
    tables = tuple(table("inconclusive", table=f"t{n}", expected=None, reason="not in the log") for n in range(300))
    doubts = tuple(f"shop.{one.table}: {one.reason}" for one in tables)
    checks = (check("inconclusive", findings=doubts, notes=()),
              *(check("match", on=f"db{n}", findings=(), notes=("a view",)) for n in range(199)))  # fmt: skip
    file = written(tmp_path / "c", KEY, verdict="inconclusive", tables=tables, checks=checks)
    shown = relight("verify", file, "--key", KEY.public).stdout
    assert "300 inconclusive" in shown
    assert "shop.t0: not in the log" in shown
    assert "and 489 more" in shown, "each doubt once, and each thing that was not looked at"
    assert len(shown.splitlines()) <= 30


def test_a_script_gets_the_file_again_as_json(relight: Command, file: str) -> None:
    done = relight("verify", file, "--key", KEY.public, "--json")
    assert json.loads(done.stdout) == json.loads(Path(file).read_bytes())
    assert verify(done.stdout.encode(), {KEY.public}, datetime.now(UTC)).shard == "shard-1"


def test_a_certificate_can_come_from_standard_input(relight: Command, file: str) -> None:
    done = relight("verify", "-", "--key", KEY.public, content=Path(file).read_bytes())
    assert done.exit_code == 0, done.output


def test_given_keys_are_trusted_and_no_others(relight: Command, file: str) -> None:
    assert relight("verify", file, "--key", OTHER_KEY.public, "--key", KEY.public).exit_code == 0
    assert_refused(relight("verify", file, "--key", OTHER_KEY.public, **OWN), f"not trusted: {fingerprint(KEY.public)}")


def test_ones_own_key_is_trusted_without_a_fleet_file(relight: Command, file: str) -> None:
    assert relight("verify", file, **OWN).exit_code == 0


def test_the_keys_of_the_fleet_file_are_trusted_and_the_store_is_not_asked(
    relight: Command, file: str, tmp_path: Path
) -> None:
    fleet = fleet_file(tmp_path / "fleet.yaml", OTHER_KEY.public, KEY.public)
    assert relight("verify", file, "--fleet", fleet).exit_code == 0
    assert relight("verify", file, RELIGHT_FLEET=fleet).exit_code == 0
    others = fleet_file(tmp_path / "others.yaml", OTHER_KEY.public)
    assert_refused(relight("verify", file, RELIGHT_FLEET=others), "not trusted")
    assert relight("verify", file, RELIGHT_FLEET=others, **OWN).exit_code == 0


def test_a_fleet_file_that_was_named_and_is_not_there_is_a_mistake(relight: Command, file: str) -> None:
    assert_refused(relight("verify", file, RELIGHT_FLEET="missing.yaml", **OWN), "no fleet file")


def test_without_any_key_the_ways_to_name_one_are_told(relight: Command, file: str) -> None:
    done = relight("verify", file)
    assert_refused(done, "no key is known")
    assert "--key" in done.stderr.splitlines()[1]


def test_a_key_that_is_none_is_refused(relight: Command, file: str) -> None:
    assert_refused(relight("verify", file, "--key", "hunter2"), "not a public key (--key): not the base64 of 32 bytes")


def test_a_malformed_key_of_ones_own_is_said_and_not_shown(relight: Command, file: str) -> None:
    done = relight("verify", file, **{**OWN, "RELIGHT_CERTIFICATE_PASSWORD": "hunter2-x"})
    assert_refused(done, "the signing key is malformed")
    assert "hunter2" not in done.output


def test_what_is_wrong_with_a_file_is_said(relight: Command, file: str, tmp_path: Path) -> None:
    trusting = ("--key", KEY.public)
    past = datetime.now(UTC) - timedelta(days=2)
    old = written(tmp_path / "old", KEY, issued_at=past, expires_at=past + timedelta(days=1))
    assert_refused(relight("verify", old, *trusting), "it expired at")
    changed = Path(file).read_bytes().replace(b'"shard-1"', b'"shard-2"')
    assert_refused(relight("verify", "-", *trusting, content=changed), "does not fit")
    assert_refused(relight("verify", "-", *trusting, content=b""), "cannot be read as JSON")
    assert_refused(relight("verify", "missing.json", *trusting), "missing.json")
    assert_refused(relight("verify", str(tmp_path), *trusting), "cannot be read")


def test_the_schema_is_the_published_one(relight: Command) -> None:
    assert relight("schema").stdout == SCHEMA_FILE.read_text(encoding="utf-8")


def test_a_new_key_can_be_used_as_it_is_printed(relight: Command, tmp_path: Path) -> None:
    done = relight("key", "--name", "night")
    assert done.exit_code == 0
    assert "secret" in done.stderr
    variables = dict(line.split("=", 1) for line in done.stdout.splitlines() if not line.startswith("#"))
    assert set(variables) == set(OWN)
    made = own_key(EnvironmentCredentials(variables))
    assert made is not None
    assert made.name == "night"
    assert variables["RELIGHT_CERTIFICATE_PASSWORD"] not in done.stderr
    for_fleet = yaml.safe_load(done.stdout.splitlines()[-1].lstrip("# "))
    fleet = fleet_file(tmp_path / "fleet.yaml", *for_fleet["certificates"]["public_keys"])
    assert load_fleet(Path(fleet)).certificates.public_keys == (made.public,)
    file = written(tmp_path / "c", made)
    assert relight("verify", file, "--fleet", fleet).exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"fleet.yaml", "c"}, "nothing but the test wrote a file"


def test_no_key_is_like_another(relight: Command) -> None:
    assert relight("key").stdout != relight("key").stdout


def test_a_name_that_no_key_can_have_is_refused(relight: Command) -> None:
    assert_refused(relight("key", "--name", ""), "user name")
