"""Only a server that this run has promoted, and that takes writes, is announced."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from relight.announcing.settings import Announce, CommandAnnounce, FileAnnounce
from relight.errors import AnnounceFailed, ServerUnreachable
from relight.fleet import Server, Shard
from relight.gtid import GtidSet
from relight.planning.target import Target
from relight.server.rebuilt import State, write_mark
from relight.site import Run, Site
from relight.step_records import load_records
from relight.steps.announce import announce
from tests.support.servers import Servers, kill

RUN = Run(run_id="run-1", shard="shard-1", target=Target(kind="latest"))


@dataclass
class Promoted:
    """A real server that bears the mark of run-1, and a file to announce it in."""

    servers: Servers
    server: Server
    site: Site
    file: Path

    def announced_by(self, *settings: Announce) -> Site:
        (shard,) = self.site.fleet.shards
        changed = Shard.model_validate(shard.model_dump() | {"announce": settings})
        fleet = self.site.fleet.model_copy(update={"shards": (changed,)})
        return dataclasses.replace(self.site, fleet=fleet)

    def set(self, statement: str) -> None:
        with self.servers.connect(self.server) as session:
            session.run(statement)


@pytest.fixture
def promoted(servers: Servers, site: Callable[..., Site], tmp_path: Path) -> Promoted:
    server = servers.make("source")
    write_mark(server.datadir, "run-1", "promoted", 7)
    made = Promoted(servers, server, site(server), tmp_path / "shard-1.json")
    made.site = made.announced_by(FileAnnounce(kind="file", path=made.file))
    return made


def test_an_open_server_is_announced_as_it_is(promoted: Promoted) -> None:
    promoted.set("CREATE DATABASE shop")
    done = announce(promoted.site, RUN)
    told = json.loads(promoted.file.read_text())
    with promoted.servers.connect(promoted.server) as session:
        assert told["server_uuid"] == session.value("SELECT @@server_uuid")
        assert GtidSet.parse(told["gtids"]) == GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))
    assert told["gtids"]
    assert (told["shard"], told["server"], told["host"], told["port"]) == (
        "shard-1",
        "source",
        promoted.server.host,
        promoted.server.port,
    )
    assert (told["epoch"], told["open"]) == (7, True)
    assert done.announcers == (f"file {promoted.file}",)
    (record,) = load_records(promoted.site.store, RUN)
    assert (record.step, record.key, record.outcome, record.summary["epoch"]) == ("announce", "", "done", 7)


def test_done_again_it_ends_the_same(promoted: Promoted) -> None:
    first = announce(promoted.site, RUN)
    assert announce(promoted.site, RUN) == first


@pytest.mark.parametrize("setting", ["offline_mode", "read_only", "super_read_only"])
def test_a_server_that_takes_no_writes_is_not_announced(promoted: Promoted, setting: str) -> None:
    promoted.set(f"SET GLOBAL {setting} = ON")
    with pytest.raises(AnnounceFailed, match=f"not open, so it is not announced.*{setting} is 1"):
        announce(promoted.site, RUN)
    assert not promoted.file.exists()
    (record,) = load_records(promoted.site.store, RUN)
    assert (record.outcome, record.step) == ("failed", "announce")


@pytest.mark.parametrize(
    ("run_id", "state"), [("run-1", "restored"), ("run-1", "prepared"), ("run-1", "replica"), ("run-2", "promoted")]
)
def test_a_server_that_this_run_has_not_promoted_is_not_announced(
    promoted: Promoted, run_id: str, state: State
) -> None:
    write_mark(promoted.server.datadir, run_id, state, 7 if state in ("prepared", "promoted") else None)
    with pytest.raises(AnnounceFailed, match="run run-1 has not promoted"):
        announce(promoted.site, RUN)
    assert not promoted.file.exists()


def test_a_rehearsal_is_never_announced(promoted: Promoted) -> None:
    fleet = promoted.site.fleet
    shard = fleet.shards[0]
    scratch = shard.model_copy(update={"scratch": shard.source})
    site = dataclasses.replace(promoted.site, fleet=fleet.model_copy(update={"shards": (scratch,)}))
    with pytest.raises(AnnounceFailed, match="has not promoted"):
        announce(site, RUN.model_copy(update={"mode": "rehearse"}))
    assert not promoted.file.exists()


def test_a_server_that_does_not_answer_is_not_announced(promoted: Promoted) -> None:
    kill(promoted.server)
    with pytest.raises(ServerUnreachable):
        announce(promoted.site, RUN)
    assert not promoted.file.exists()


def test_one_announcer_that_fails_fails_the_step_and_the_others_have_done_their_work(promoted: Promoted) -> None:
    failing = CommandAnnounce(kind="command", announce=("false",), withdraw=("true",))
    site = promoted.announced_by(failing, FileAnnounce(kind="file", path=promoted.file))
    with pytest.raises(AnnounceFailed, match=r"1 of 2 failed.*command false"):
        announce(site, RUN)
    assert promoted.file.exists()


def test_a_shard_that_nobody_wants_to_hear_of_is_fine(promoted: Promoted) -> None:
    assert announce(promoted.announced_by(), RUN).announcers == ()


def test_a_server_whose_epoch_is_not_won_is_not_announced(promoted: Promoted) -> None:
    write_mark(promoted.server.datadir, "run-1", "promoted")
    with pytest.raises(AnnounceFailed, match="has not promoted"):
        announce(promoted.site, RUN)
    assert not promoted.file.exists()
