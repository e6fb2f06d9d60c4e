"""Each command that Relight prints is run in a shell, on a fleet that was backed up, is alive, and has no lab."""

from __future__ import annotations

import shlex

import pytest

from relight.credentials import EnvironmentCredentials
from relight.fleet import Fleet, Shard, StoreSettings
from relight.lab.s3 import S3Server
from relight.progress import Silent
from relight.site import Site
from relight.steps.snapshot import take_snapshot
from relight.store.s3 import open_store
from tests.cli.test_printed_commands import printed
from tests.conftest import environment_of
from tests.support.commands import Shell, shell_for
from tests.support.servers import Servers

SHARD = "shard-1"
MEANT = {"abandon": ["run-1", "--shard", SHARD], "status": ["incident-1"], "certificate verify": ["no.json"]}
"""What stands for the words that are not constant, where these are no shard."""
COMMANDS = sorted({tuple(words) for _, words in printed() if words[0] != "lab"})


@pytest.fixture(scope="module")
def shell(module_servers: Servers, s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    source, scratch = module_servers.make("printed"), module_servers.make("printed-scratch", empty=True)
    store = StoreSettings(bucket=s3_server.bucket, prefix="printed", endpoint=s3_server.endpoint, part_size_mib=5)
    fleet = Fleet(fleet="test", store=store, shards=(Shard(name=SHARD, source=source, scratch=scratch),))
    credentials = EnvironmentCredentials(environment_of(module_servers.template.logins, s3_server.login))
    site = Site(fleet, open_store(store, s3_server.login), credentials, Silent())
    with module_servers.connect(source) as session:
        session.run("CREATE DATABASE shop")
        session.run("CREATE TABLE shop.t (n INT PRIMARY KEY)")
    take_snapshot(site, SHARD)
    made = shell_for(site, tmp_path_factory.mktemp("printed"))
    return Shell({**made.environment, "RELIGHT_LAB": "/nonexistent/lab"})


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_it_does_what_it_says_or_tells_in_words_why_it_cannot(shell: Shell, words: tuple[str, ...]) -> None:
    name = next((known for known in MEANT if " ".join(words).startswith(known)), None)
    given = [*(name or "").split(), *MEANT[name]] if name else [SHARD if word == "some-1" else word for word in words]
    done = shell.run(shlex.join(["relight", *given]))
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1, 5), (given, done.stderr)
    if done.returncode:
        assert "\nrelight: " in f"\n{done.stderr}", done.stderr
        # What is refused has a reason in this fleet: it lives, has no Airflow, nothing of that run, and begins a
        # timeline only once.
        assert given[0] in ("restore", "abandon", "status", "certificate", "timeline"), (given, done.stderr)
