"""The guard: whatever could be alive refuses, what is down is cleared, and a clearance is good for one thing, once."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.errors import GuardRefused
from relight.fleet import Server
from relight.server import guard, mysqld
from tests.support.servers import Servers, kill


@pytest.fixture(scope="module")
def alive(module_servers: Servers) -> Server:
    """A running server; tests leave it running."""
    return module_servers.make("alive")


@pytest.fixture
def down(servers: Servers) -> Server:
    """A server with a data directory that nothing runs on."""
    return servers.make("down", start=False)


def refused(server: Server) -> str:
    with pytest.raises(GuardRefused) as error:
        guard.clear(server, "be rebuilt")
    assert "nothing was touched" in error.value.hint
    return error.value.why


def test_a_running_server_is_refused_with_everything_that_was_seen(alive: Server) -> None:
    seen = refused(alive)
    assert f"something answers on 127.0.0.1:{alive.port}" in seen
    assert f"something answers on {alive.socket}" in seen
    pid = mysqld.running_pid(alive)
    assert f"process {pid} (" in seen
    assert f"files open below {alive.datadir}" in seen


def test_a_running_server_without_pid_file_and_socket_is_still_seen(servers: Servers) -> None:
    server = servers.make("bare")
    for path in [server.socket, *server.datadir.glob("*.pid"), *server.datadir.parent.glob("*.pid")]:
        path.unlink()
    assert "files open below" in refused(server)


def test_a_server_that_answers_nowhere_is_seen_by_the_files_it_has_open(servers: Servers) -> None:
    server = servers.make("mute", options={"skip-networking": "ON"})
    server.socket.unlink()
    assert not mysqld.port_answers(server)
    seen = refused(server)
    assert "answers" not in seen
    assert "files open below" in seen


def test_a_server_that_is_stopped_by_a_signal_is_seen(servers: Servers) -> None:
    server = servers.make("frozen")
    pid = mysqld.running_pid(server)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        assert "files open below" in refused(server)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_another_name_of_a_living_data_directory_does_not_help(alive: Server, tmp_path: Path) -> None:
    (tmp_path / "other").symlink_to(alive.datadir)
    disguised = alive.model_copy(update={"datadir": tmp_path / "other", "port": 1, "socket": tmp_path / "s"})
    seen = refused(disguised)
    assert "is a symbolic link" in seen
    assert "files open below" in seen


def test_something_else_on_the_port_or_the_socket_is_a_sign_of_life(down: Server) -> None:
    with socket.create_server(("127.0.0.1", down.port)):
        assert f"answers on 127.0.0.1:{down.port}" in refused(down)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(down.socket))
        listener.listen()
        assert f"answers on {down.socket}" in refused(down)
    assert guard.signs_of_life(down) == (), "a socket that nobody listens on any more is no sign of life"


def test_a_shell_in_the_data_directory_s_files_is_a_sign_of_life(down: Server) -> None:
    with (down.datadir / "ibdata1").open("rb"):
        assert f"process {os.getpid()} (" in refused(down)


@pytest.fixture
def locked(down: Server) -> Iterator[subprocess.Popen[bytes]]:
    """Holds InnoDB's lock on the data directory."""
    program = (
        "import fcntl, sys, time; stream = open(sys.argv[1], 'r+b'); fcntl.lockf(stream, fcntl.LOCK_EX);"
        " print('locked', flush=True); time.sleep(99)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, down.datadir / "ibdata1"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_holder_of_the_innodb_lock_is_seen_even_if_its_files_are_not(
    down: Server, locked: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "open_files", lambda directory: iter(()))  # as in another container's processes
    assert f"process {locked.pid} holds the InnoDB lock" in refused(down)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("name", ["data", "a b\\é"])
def test_a_mount_point_is_refused_since_it_cannot_be_renamed(down: Server, name: str) -> None:
    down = down.model_copy(update={"datadir": down.datadir.with_name(name)})
    down.datadir.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "--bind", down.datadir, down.datadir], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.decode().strip()}")
    try:
        assert "is a mount point" in refused(down)
    finally:
        subprocess.run(["umount", down.datadir], check=True)


def test_a_stopped_server_is_cleared_and_set_aside_whole(servers: Servers) -> None:
    server = servers.make("stopped")
    mysqld.stop(server, servers.admin)
    clearance = guard.clear(server, "be rebuilt")
    assert clearance is not None
    before = {path.name for path in server.datadir.iterdir()}
    aside = guard.set_aside(clearance)
    assert not server.datadir.exists()
    assert aside.parent == server.datadir.parent
    assert {path.name for path in aside.iterdir()} == before


def test_a_killed_server_is_cleared_though_it_left_socket_and_lock_files(servers: Servers) -> None:
    server = servers.make("killed")
    kill(server)
    assert server.socket.exists()
    assert guard.clear(server, "be rebuilt") is not None


def test_where_there_is_nothing_there_is_nothing_to_clear(down: Server) -> None:
    shutil.rmtree(down.datadir)
    assert guard.clear(down, "be rebuilt") is None


def test_a_clearance_is_good_once(down: Server) -> None:
    clearance = guard.clear(down, "be rebuilt")
    assert clearance is not None
    guard.set_aside(clearance)
    down.datadir.mkdir()
    with pytest.raises(GuardRefused, match="no longer valid"):
        guard.set_aside(clearance)
    assert down.datadir.exists()


def test_a_clearance_expires_within_seconds(down: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    clearance = guard.clear(down, "be rebuilt")
    assert clearance is not None
    assert clearance.expires - time.monotonic() <= 60
    later = time.monotonic() + guard.CLEARANCE_SECONDS + 1
    monkeypatch.setattr(guard.time, "monotonic", lambda: later)
    with pytest.raises(GuardRefused, match="no longer valid"):
        guard.set_aside(clearance)
    assert down.datadir.exists()


def test_a_clearance_is_worthless_for_a_directory_that_took_the_other_s_place(down: Server) -> None:
    clearance = guard.clear(down, "be rebuilt")
    assert clearance is not None
    down.datadir.rename(down.datadir.with_name("moved"))
    down.datadir.mkdir()
    (down.datadir / "precious").touch()
    with pytest.raises(GuardRefused, match="another directory"):
        guard.set_aside(clearance)
    assert (down.datadir / "precious").exists()


def test_a_clearance_for_a_directory_that_vanished_is_refused(down: Server) -> None:
    clearance = guard.clear(down, "be rebuilt")
    assert clearance is not None
    shutil.rmtree(down.datadir)
    with pytest.raises(GuardRefused, match="no longer valid"):
        guard.set_aside(clearance)


def test_a_disk_too_small_is_refused_before_anything_is_moved(down: Server) -> None:
    free = shutil.disk_usage(down.workdir).free
    with pytest.raises(GuardRefused, match=r"the disk is too small .*GB needed.*GB free"):
        guard.clear(down, "be rebuilt", need_bytes=free + 10**12)
    assert down.datadir.exists()
    shutil.rmtree(down.workdir)
    assert guard.refuse_if_too_small(down, 1) > 0, "the disk is asked for although the folder is not there yet"
