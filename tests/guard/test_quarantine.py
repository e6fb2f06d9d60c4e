"""What was set aside is listed, and removed only by somebody who types its name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from relight.errors import GuardRefused
from relight.fleet import Fleet, Server, Shard, StoreSettings
from relight.guard import clearance as acting
from relight.guard.clearance import clear, clear_removal, remove_set_aside, set_aside
from relight.guard.quarantine import owner_of, set_aside_directories
from relight.guard.renaming import move
from relight.server import mysqld
from tests.guard.test_command import RELIGHT, Done
from tests.support.guarding import tree
from tests.support.servers import Servers


def fleet_of(server: Server, scratch: Server | None = None) -> Fleet:
    shard = Shard(name="shard-1", source=server, scratch=scratch)
    return Fleet(fleet="test", store=StoreSettings(bucket="abc"), shards=(shard,))


@pytest.fixture
def aside(servers: Servers) -> tuple[Server, Path]:
    """A server whose data directory, with one transaction in its logs, was set aside."""
    server = servers.make("source")
    with servers.connect(server) as session:
        session.run("CREATE DATABASE d")
    mysqld.stop(server, servers.admin)
    return server, set_aside(clear(server, "be rebuilt"))


@pytest.fixture
def relight(aside: tuple[Server, Path], tmp_path: Path) -> Callable[..., Done]:
    """Runs the command with a fleet file, in a folder without a lab."""
    file = tmp_path / "fleet.yaml"
    file.write_text(yaml.safe_dump(fleet_of(aside[0]).model_dump(mode="json", exclude_none=True)), encoding="utf-8")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RELIGHT_")}
    environment = {**plain, "RELIGHT_LAB": str(tmp_path / "no-lab"), "RELIGHT_FLEET": str(file)}

    def call(*arguments: str | Path, typed: str = "") -> Done:
        return subprocess.run(
            [sys.executable, "-c", RELIGHT, *arguments], env=environment, cwd=tmp_path, text=True, input=typed,
            capture_output=True, check=False, timeout=120,
        )  # fmt: skip

    return call


def test_what_was_set_aside_is_listed_with_what_it_holds(servers: Servers, aside: tuple[Server, Path]) -> None:
    server, path = aside
    (server.datadir.parent / "data.set-aside.by-hand").mkdir()
    (server.datadir.parent / "other.set-aside.20261122T190000000000Z").mkdir()
    scratch = servers.make("scratch", empty=True)
    (scratch.datadir.parent / "data.set-aside.20201122T190000000000Z").mkdir()
    older, newer = set_aside_directories(fleet_of(server, scratch))
    assert (older.server, older.size > 0, older.server_uuid) == (scratch, True, "")
    assert (newer.server, newer.path) == (server, path)
    assert newer.held.logged.count() == 1
    assert newer.server_uuid in str(newer.held.logged)
    assert newer.size > 1e6


def test_the_command_lists_them(relight: Callable[..., Done], aside: tuple[Server, Path]) -> None:
    done = relight("quarantine")
    assert done.returncode == 0, done.stderr
    assert str(aside[1]) in done.stdout
    assert "1 transaction" in done.stdout
    (one,) = json.loads(relight("quarantine", "--json").stdout)
    assert (one["path"], one["server"]) == (str(aside[1]), "source")
    shutil.rmtree(aside[1])
    assert relight("quarantine").stdout == "nothing was set aside here\n"


def test_it_is_removed_only_when_its_name_is_typed(relight: Callable[..., Done], aside: tuple[Server, Path]) -> None:
    path = aside[1]
    before = tree(path)
    done = relight("quarantine", "remove", path)
    assert done.returncode == 1
    assert "hold 1 transaction and nobody said that they are backed up" in done.stderr
    for typed in ("", "y\n", "data\n"):
        done = relight("quarantine", "remove", path, "--lose-transactions", typed=typed)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
    done = relight("quarantine", "remove", path, "--lose-transactions", "--confirm", "data")
    assert done.returncode == 1
    assert "it was not confirmed" in done.stderr
    assert tree(path) == before
    done = relight("quarantine", "remove", path, "--lose-transactions", typed=f"{path.name}\n")
    assert done.returncode == 0, done.stderr
    assert not path.exists()
    assert not list(path.parent.glob("data*"))


def test_scripts_confirm_it_too_and_say_what_is_backed_up(
    relight: Callable[..., Done], aside: tuple[Server, Path]
) -> None:
    server, path = aside
    (one,) = set_aside_directories(fleet_of(server))
    gtids = str(one.held.logged)
    done = relight("quarantine", "remove", path, "--confirm", path.name, "--archived", gtids)
    assert done.returncode == 0, done.stderr
    assert not path.exists()


def test_a_data_directory_is_never_removed(relight: Callable[..., Done], aside: tuple[Server, Path]) -> None:
    server, path = aside
    shutil.copytree(path, server.datadir)
    for wrong in (server.datadir, server.datadir.parent, Path("/"), path / "mysql", path.parent / "absent"):
        done = relight("quarantine", "remove", wrong, "--confirm", wrong.name, "--lose-transactions")
        assert done.returncode == 1, wrong
        assert "never removed" in done.stderr or "not a directory that was set aside" in done.stderr
    assert path.exists()
    assert server.datadir.exists()


def test_a_server_may_live_in_a_directory_that_is_named_so(aside: tuple[Server, Path]) -> None:
    server, path = aside
    odd = server.model_copy(update={"name": "odd", "datadir": path, "port": 1})
    with pytest.raises(GuardRefused, match="a server's data directory is never removed"):
        owner_of(fleet_of(server, odd), path)


def test_what_is_in_use_is_not_removed(servers: Servers, aside: tuple[Server, Path]) -> None:
    server, path = aside
    with (path / "ibdata1").open("rb"), pytest.raises(GuardRefused, match="open below"):
        clear_removal(server, path)
    revived = server.model_copy(update={"datadir": path})
    mysqld.spawn(revived)
    mysqld.wait_until_up(revived, servers.admin).close()
    with pytest.raises(GuardRefused, match="open below"):
        clear_removal(server, path)


def test_what_comes_into_use_between_check_and_act_is_put_back(
    aside: tuple[Server, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, path = aside
    clearance = clear_removal(server, path)
    before = tree(path)
    opened = []

    def late(old: Path, new: Path) -> None:
        monkeypatch.setattr(acting, "move", move)
        opened.append((path / "ibdata1").open("rb"))
        move(old, new)

    monkeypatch.setattr(acting, "move", late)
    with pytest.raises(GuardRefused, match="open below"):
        remove_set_aside(clearance)
    opened[0].close()
    assert tree(path) == before


def test_a_removal_that_was_interrupted_can_be_ended(
    aside: tuple[Server, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, path = aside

    def stumble(folder: Path) -> None:
        (folder / "ibdata1").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(acting.shutil, "rmtree", stumble)
    with pytest.raises(KeyboardInterrupt):
        remove_set_aside(clear_removal(server, path))
    monkeypatch.undo()
    (left,) = set_aside_directories(fleet_of(server))
    assert left.path.name.startswith(f"{path.name}.going-")
    assert remove_set_aside(clear_removal(server, left.path)) > 0
    assert set_aside_directories(fleet_of(server)) == []
