"""A clearance is good for one thing, once, for seconds, here; and what happens between check and act is noticed."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from relight.errors import GuardRefused, ServerError
from relight.fleet import Server
from relight.guard import clearance as acting
from relight.guard import issuing
from relight.guard.clearance import clear, put_in_place, remove_own, set_aside
from relight.guard.finding import Finding
from relight.guard.looking import refuse_if_too_small
from relight.guard.renaming import move
from relight.server import mysqld
from relight.server.rebuilt import write_mark
from tests.support.guarding import tree
from tests.support.servers import Servers


def test_a_stopped_server_is_cleared_and_set_aside_whole(servers: Servers) -> None:
    server = servers.make("stopped")
    mysqld.stop(server, servers.admin)
    clearance = clear(server, "be rebuilt")
    before = tree(server.datadir)
    aside = set_aside(clearance)
    assert not server.datadir.exists()
    assert aside.parent == server.datadir.parent
    assert tree(aside) == before


def test_where_there_is_nothing_only_a_name_is_cleared(down: Server) -> None:
    shutil.rmtree(down.datadir)
    clearance = clear(down, "be rebuilt")
    assert not clearance.covers_something
    with pytest.raises(GuardRefused, match="nothing to set aside"):
        set_aside(clearance)


def test_a_clearance_is_good_once(down: Server) -> None:
    clearance = clear(down, "be rebuilt")
    aside = set_aside(clearance)
    aside.rename(down.datadir)
    with pytest.raises(GuardRefused, match=r"no longer valid.*it was used before"):
        set_aside(clearance)
    assert down.datadir.exists()


def test_a_clearance_is_good_once_also_across_a_crash(down: Server) -> None:
    """The process dies when it has used it, and before anything was moved."""
    clearance = clear(down, "be rebuilt")
    child = os.fork()
    if child == 0:
        try:
            acting.move = lambda old, new: os.kill(os.getpid(), signal.SIGKILL)
            set_aside(clearance)
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    before = tree(down.datadir)
    with pytest.raises(GuardRefused, match="it was used before"):
        set_aside(clearance)
    assert tree(down.datadir) == before
    (used,) = clearance.records.glob("*.used")
    assert f"set aside as {down.datadir}.set-aside." in used.read_text(), "what it was used for is known"


@pytest.mark.parametrize("clock", ["monotonic", "time"])
def test_a_clearance_expires_within_seconds_on_either_clock(
    down: Server, monkeypatch: pytest.MonkeyPatch, clock: str
) -> None:
    clearance = clear(down, "be rebuilt")
    assert clearance.expires_monotonic - time.monotonic() <= 30
    assert clearance.expires_at - time.time() <= 30
    for later in (getattr(time, clock)() + issuing.CLEARANCE_SECONDS + 1, *([0.0] if clock == "time" else [])):
        monkeypatch.setattr(issuing.time, clock, lambda later=later: later)
        with pytest.raises(GuardRefused, match="it has expired"):
            set_aside(clearance)
        monkeypatch.undo()
    assert down.datadir.exists()


def test_records_are_dropped_months_later_and_a_clearance_stays_worthless_without_them(down: Server) -> None:
    old, fresh = clear(down, "be rebuilt"), clear(down, "be rebuilt")
    aside = set_aside(old)
    aside.rename(down.datadir)
    (issued,), (used,) = old.records.glob(f"{old.number}.json"), old.records.glob("*.used")
    long_ago = time.time() - issuing.KEPT_SECONDS - 60
    for path in (issued, used):
        os.utime(path, (long_ago, long_ago))
    newest = clear(down, "be rebuilt")
    assert {path.name for path in old.records.iterdir()} == {f"{one.number}.json" for one in (fresh, newest)}
    with pytest.raises(GuardRefused, match="nobody has issued it"):
        set_aside(old)


def test_a_clearance_is_worthless_on_another_machine(
    down: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clearance = clear(down, "be rebuilt")
    (tmp_path / "id").write_text("another\n")
    monkeypatch.setattr(issuing, "_MACHINE_ID", tmp_path / "id")
    with pytest.raises(GuardRefused, match="another machine"):
        set_aside(clearance)
    monkeypatch.setattr(issuing, "_MACHINE_ID", tmp_path / "none")
    assert issuing.machine_id().startswith("boot ")


def test_a_clearance_that_nobody_has_issued_is_worthless(down: Server) -> None:
    forged = dataclasses.replace(clear(down, "be rebuilt"), expires_at=time.time() + 1e9)
    with pytest.raises(GuardRefused, match="nobody has issued it"):
        set_aside(forged)


def test_a_clearance_is_worthless_for_another_purpose(down: Server) -> None:
    with pytest.raises(GuardRefused, match="it was given to be removed after its rehearsal"):
        set_aside(clear(down, "be removed after its rehearsal"))
    with pytest.raises(GuardRefused, match="it was given to be rebuilt"):
        remove_own(clear(down, "be rebuilt"), "run-1")
    assert down.datadir.exists()


def test_a_clearance_is_worthless_for_a_directory_that_took_the_other_s_place(down: Server) -> None:
    clearance = clear(down, "be rebuilt")
    down.datadir.rename(down.datadir.with_name("moved"))
    down.datadir.mkdir()
    (down.datadir / "precious").touch()
    before = tree(down.datadir)
    with pytest.raises(GuardRefused, match="another directory"):
        set_aside(clearance)
    assert tree(down.datadir) == before


def test_a_clearance_is_worthless_when_other_data_are_in_the_directory(down: Server) -> None:
    clearance = clear(down, "be rebuilt")
    (down.datadir / "auto.cnf").write_text("[auto]\nserver-uuid=3e11fa47-71ca-11e1-9e33-c80aa9429562\n")
    with pytest.raises(GuardRefused, match="another directory"):
        set_aside(clearance)


def test_a_clearance_for_a_directory_that_vanished_is_refused(down: Server) -> None:
    clearance = clear(down, "be rebuilt")
    shutil.rmtree(down.datadir)
    with pytest.raises(GuardRefused, match="no longer valid"):
        set_aside(clearance)


@pytest.fixture
def just_before(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """A function that makes something happen after the last check and before the first rename."""

    def arrange(event: Callable[[], None]) -> None:
        def late(old: Path, new: Path) -> None:
            monkeypatch.setattr(acting, "move", move)
            event()
            move(old, new)

        monkeypatch.setattr(acting, "move", late)

    return arrange


def test_a_directory_swapped_between_check_and_act_is_put_back(
    down: Server, just_before: Callable[[Callable[[], None]], None]
) -> None:
    clearance = clear(down, "be rebuilt")

    def swap() -> None:
        down.datadir.rename(down.datadir.with_name("moved"))
        down.datadir.mkdir()
        (down.datadir / "precious").write_text("the only copy")

    just_before(swap)
    with pytest.raises(GuardRefused, match="another directory had taken its place") as error:
        set_aside(clearance)
    assert "put back: nothing was changed" in error.value.hint
    assert (down.datadir / "precious").read_text() == "the only copy"
    assert not list(down.datadir.parent.glob("*.set-aside.*"))


def test_a_server_started_between_check_and_act_keeps_its_directory(
    servers: Servers, down: Server, just_before: Callable[[Callable[[], None]], None]
) -> None:
    clearance = clear(down, "be rebuilt")
    just_before(lambda: mysqld.start(down, servers.admin).close())
    with pytest.raises(GuardRefused, match="open below"):
        set_aside(clearance)
    assert down.datadir.exists()
    with servers.connect(down) as session:
        session.run("CREATE DATABASE after_the_refusal")
    assert (down.datadir / "after_the_refusal").is_dir(), "it did not lose its directory"


def test_a_process_that_has_only_gone_into_the_directory_is_noticed(
    down: Server, just_before: Callable[[Callable[[], None]], None]
) -> None:
    """As mysqld does before it opens any file; it would find them all by names below the place where it is."""
    clearance = clear(down, "be rebuilt")
    started: list[subprocess.Popen[bytes]] = []
    just_before(
        lambda: started.append(
            subprocess.Popen([sys.executable, "-c", "input()"], cwd=down.datadir, stdin=subprocess.PIPE)
        )
    )
    try:
        with pytest.raises(GuardRefused, match="works in"):
            set_aside(clearance)
    finally:
        started[0].kill()
        started[0].communicate()
    assert down.datadir.exists()


def test_what_has_taken_the_place_meanwhile_is_not_overwritten_either(
    down: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    clearance = clear(down, "be rebuilt")

    def seize(old: Path, new: Path) -> None:
        monkeypatch.setattr(acting, "move", move)
        move(old, new)
        down.datadir.mkdir()  # as a package's script does

    monkeypatch.setattr(acting, "move", seize)
    monkeypatch.setattr(acting, "in_use", lambda contents, to_be_renamed: [Finding("process", "somebody")])
    with pytest.raises(GuardRefused, match="cannot undo what was begun") as error:
        set_aside(clearance)
    (aside,) = down.datadir.parent.glob("data.set-aside.*")
    assert str(aside) in error.value.hint
    assert (aside / "ibdata1").exists()


def made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "new").touch()
    return folder


def test_a_new_directory_takes_the_place_of_the_old(down: Server) -> None:
    aside = put_in_place(clear(down, "be rebuilt"), made(down.workdir / "incoming"))
    assert (down.datadir / "new").exists()
    assert (Path(aside) / "ibdata1").exists()


def test_a_new_directory_takes_a_free_place(down: Server) -> None:
    shutil.rmtree(down.datadir.parent)
    incoming = made(down.workdir / "incoming")
    assert put_in_place(clear(down, "be rebuilt"), incoming) == ""
    assert (down.datadir / "new").exists()


def test_nothing_takes_a_place_that_is_no_longer_free(down: Server) -> None:
    shutil.rmtree(down.datadir)
    clearance = clear(down, "be rebuilt")
    incoming = made(down.workdir / "incoming")
    down.datadir.mkdir()
    with pytest.raises(GuardRefused, match="another directory"):
        put_in_place(clearance, incoming)


def test_the_old_directory_is_put_back_where_the_new_one_cannot_take_its_place(down: Server) -> None:
    before = tree(down.datadir)
    with pytest.raises(ServerError, match="the new data directory cannot be put in place"):
        put_in_place(clear(down, "be rebuilt"), down.workdir / "not-there")
    assert tree(down.datadir) == before


def test_a_rename_never_replaces_anything(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(FileExistsError):
        move(tmp_path / "a", tmp_path / "b")
    move(tmp_path / "a", tmp_path / "c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c"]


def test_a_run_removes_only_what_it_has_built(down: Server) -> None:
    write_mark(down.datadir, "run-1", "restored")
    before = tree(down.datadir)
    with pytest.raises(GuardRefused, match="it was not built by run run-2"):
        remove_own(clear(down, "be removed after its rehearsal"), "run-2")
    assert tree(down.datadir) == before
    assert remove_own(clear(down, "be removed after its rehearsal"), "run-1") > 1e6
    assert not list(down.datadir.parent.glob("data*"))


def test_a_disk_too_small_is_refused_before_anything_is_moved(down: Server) -> None:
    free = shutil.disk_usage(down.workdir).free
    with pytest.raises(GuardRefused, match=r"the disk is too small .*GB needed.*GB free"):
        clear(down, "be rebuilt", need_bytes=free + 10**12)
    assert down.datadir.exists()
    shutil.rmtree(down.workdir)
    assert refuse_if_too_small(down, 1) > 0, "the disk is asked for although the folder is not there yet"
