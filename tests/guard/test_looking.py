"""Whatever could be alive refuses, and nothing is changed on disk; what is down is clear."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from relight.fleet import Server
from relight.gtid import GtidSet
from relight.guard import processes
from relight.guard.clearance import clear
from relight.guard.finding import Finding, grouped
from relight.guard.looking import facts_of, look
from relight.guard.proc import command_of
from relight.server import mysqld
from tests.support.guarding import kinds, refused, told
from tests.support.servers import Servers, kill, remove_under


def test_a_running_server_is_refused_with_everything_that_was_seen(alive: Server) -> None:
    seen = refused(alive, living=True)
    assert f"something answers on {alive.host}:{alive.port}" in seen
    assert f"something answers on {alive.socket}" in seen
    pid = mysqld.running_pid(alive)
    assert pid is not None
    assert f"process {pid} (" in seen
    assert f"open below {alive.datadir}" in seen
    assert f"holds the InnoDB lock of {alive.datadir}" in seen
    assert f"process {pid} ({command_of(pid)}) listens on {alive.host}:{alive.port}" in seen
    assert f"process {pid} ({command_of(pid)}) listens on {alive.socket}" in seen


def test_its_directory_alone_tells_as_much(alive: Server) -> None:
    found = look(alive.datadir, archived=GtidSet(), quiet=timedelta(hours=1))
    assert {"process", "lock", "port", "socket", "recent write"} <= kinds(found)
    assert "hidden" not in kinds(found), "root sees everything"


def test_clients_and_replicas_that_are_attached_are_counted(servers: Servers) -> None:
    source = servers.make("source")
    assert not {"client", "replica"} & kinds(look(source.datadir))
    (replica,) = servers.make_replicas(source, 1)
    with servers.connect(source), socket.create_connection((source.host, source.port)):
        deadline = time.monotonic() + 30
        while "replica" not in kinds(found := look(source.datadir)) and time.monotonic() < deadline:
            time.sleep(0.1)
    pid = mysqld.running_pid(source)
    assert pid is not None
    assert f"process {pid} ({command_of(pid)}) reads 1 binary log out, as for replicas that are attached" in told(
        found, "replica"
    )
    # The session by its socket, the one that says nothing, and the replica's.
    assert f"process {pid} ({command_of(pid)}) has 3 clients connected: 2 from 127.0.0.1, {source.socket}" in told(
        found, "client"
    )
    at_replica = told(look(replica.datadir), "replica")
    assert f"is connected to {source.host}:{source.port}, as a replica to its source" in at_replica
    assert "reads" not in at_replica, "its own relay logs are no replica"


def test_a_running_server_without_pid_file_and_socket_is_still_seen(servers: Servers) -> None:
    server = servers.make("bare")
    for path in [server.socket, *server.datadir.glob("*.pid"), *server.datadir.parent.glob("*.pid")]:
        path.unlink()
    assert "open below" in refused(server, living=True)


def test_a_server_that_answers_nowhere_is_seen_by_the_files_it_has_open(servers: Servers) -> None:
    server = servers.make("mute", options={"skip-networking": "ON"})
    server.socket.unlink()
    assert not mysqld.port_answers(server)
    seen = refused(server, living=True)
    assert "answers" not in seen
    assert "open below" in seen


def test_a_server_that_is_stopped_by_a_signal_is_seen(servers: Servers) -> None:
    server = servers.make("frozen")
    pid = mysqld.running_pid(server)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        assert "open below" in refused(server, living=True)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_server_whose_directory_was_removed_under_it_is_seen(servers: Servers) -> None:
    server = servers.make("rootless")
    while not (server.datadir / "#innodb_temp" / "temp_10.ibt").exists():
        time.sleep(0.05)  # it makes them as it starts, and ends itself where it cannot
    server.socket.unlink()
    remove_under(server)
    assert "open below" in told(look(server.datadir), "process")


def test_another_name_of_a_living_data_directory_does_not_help(alive: Server, tmp_path: Path) -> None:
    (tmp_path / "other").symlink_to(alive.datadir)
    disguised = alive.model_copy(update={"datadir": tmp_path / "other", "port": 1, "socket": tmp_path / "s"})
    seen = refused(disguised, living=True)
    assert "is a symbolic link" in seen
    assert "open below" in seen


def test_something_else_on_the_port_or_the_socket_is_a_sign_of_life(down: Server) -> None:
    with socket.create_server((down.host, down.port)):
        assert f"answers on {down.host}:{down.port}" in refused(down)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(down.socket))
        listener.listen()
        assert f"answers on {down.socket}" in refused(down)
    assert look(down.datadir, server=down) == (), "a socket that nobody listens on any more is no sign of life"


def test_a_socket_in_the_directory_is_asked_too_however_long_its_path_is(down: Server) -> None:
    folder = down.datadir / ("d" * 90)
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(folder, os.O_PATH)
        listener.bind(f"/proc/self/fd/{here}/mysql.sock")
        os.close(here)
        listener.listen()
        assert f"something answers on {folder / 'mysql.sock'}" in told(look(down.datadir), "socket")
    assert look(down.datadir) == ()


def test_a_shell_in_the_data_directory_is_a_sign_of_life(down: Server) -> None:
    with (down.datadir / "ibdata1").open("rb"):
        assert f"process {os.getpid()} (" in refused(down)
    shell = subprocess.Popen(["sleep", "60"], cwd=down.datadir)
    try:
        assert f"process {shell.pid} (sleep, as " in refused(down)
        assert f"works in {down.datadir}" in refused(down)
    finally:
        shell.kill()
        shell.wait()


def test_a_file_that_is_only_mapped_is_a_sign_of_life(down: Server) -> None:
    # An mmap keeps a descriptor of its own in Python: mapped by hand, there is none.
    program = (
        "import ctypes, os, sys, time; libc = ctypes.CDLL(None); libc.mmap.restype = ctypes.c_void_p;"
        " fd = os.open(sys.argv[1], os.O_RDONLY); libc.mmap(None, ctypes.c_size_t(4096), 1, 1, fd, ctypes.c_long(0));"
        " os.close(fd); print('mapped', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, down.datadir / "ibdata1"], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        assert f"process {process.pid} (" in refused(down)
    finally:
        process.kill()
        process.communicate()


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
    monkeypatch.setattr(processes, "holders", lambda contents: iter(()))  # as in another container's processes
    assert f"process {locked.pid} (python" in (seen := refused(down))
    assert f"holds the InnoDB lock of {down.datadir}, on ibdata1" in seen


def test_a_server_of_another_account_counts_although_its_files_cannot_be_seen(down: Server) -> None:
    """A process that cannot be looked into, because this one has given up root."""
    if os.geteuid() != 0:
        pytest.skip("giving up root needs root")
    for folder in (down.datadir, *down.datadir.parents):
        if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o005:
            folder.chmod(folder.stat().st_mode | 0o055)
    hidden = subprocess.Popen(["sleep", "60"], executable="/bin/sleep", pass_fds=())
    named = subprocess.Popen(["mysqld-pretended", "60"], executable="/bin/sleep")
    try:
        found = as_nobody(down.datadir)
        assert f"process {named.pid} (" in told(found, "hidden")
        assert "its open files cannot be seen, run as root" in told(found, "hidden")
        assert f"process {hidden.pid} (" not in told(found, "hidden"), "whatever else root runs is no database"
    finally:
        for process in (hidden, named):
            process.kill()
            process.wait()


def as_nobody(datadir: Path) -> tuple[Finding, ...]:
    """What an account finds that may see little. In a process of its own, since there is no way back."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresuid(65534, 65534, 65534)
            with os.fdopen(writing, "wb") as stream:
                stream.write(pickle.dumps(look(datadir)))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        content = stream.read()
    os.waitpid(child, 0)
    found: tuple[Finding, ...] = pickle.loads(content)
    return found


def test_a_log_that_was_written_lately_counts_whoever_did_it(down: Server) -> None:
    for path in down.datadir.rglob("*"):
        os.utime(path, (0, time.time() - 7200), follow_symlinks=False)
    assert look(down.datadir, quiet=timedelta(hours=1)) == ()
    assert kinds(look(down.datadir, quiet=timedelta(hours=3))) == {"recent write"}
    (down.datadir / "my_notes.txt").touch()
    assert look(down.datadir, quiet=timedelta(hours=1)) == (), "no server has written that"
    os.utime(down.datadir / "ibdata1", (0, time.time() + 100))
    assert "s in the future" in told(look(down.datadir, quiet=timedelta(seconds=1)), "recent write")
    assert look(down.datadir, quiet=timedelta(0)) == ()


def test_a_link_that_leads_out_counts_and_one_that_stays_does_not(down: Server, tmp_path: Path) -> None:
    (down.datadir / "inside").symlink_to("mysql")
    assert look(down.datadir) == ()
    (down.datadir / "shop").symlink_to(tmp_path)
    assert f"{down.datadir / 'shop'} leads out of it, to {tmp_path}" in refused(down)


def test_who_the_directory_is_must_be_readable(down: Server) -> None:
    (down.datadir / "auto.cnf").write_text("[auto]\nserver-uuid=nonsense\n")
    assert "auto.cnf holds no server UUID" in refused(down)


def test_a_server_on_another_machine_is_refused(down: Server) -> None:
    far = down.model_copy(update={"host": "192.0.2.1", "port": 9})
    assert "192.0.2.1 is not this machine" in told(look(far.datadir, server=far), "identity")


def test_a_stopped_server_is_clear_and_tells_who_it_was(servers: Servers) -> None:
    server = servers.make("stopped")
    with servers.connect(server) as session:
        uuid = session.value("SELECT @@server_uuid")
        session.run("SET PERSIST super_read_only = ON")
    mysqld.stop(server, servers.admin)
    assert look(server.datadir, server=server) == ()
    facts = facts_of(server.datadir)
    assert facts.server_uuid == uuid
    assert facts.settings == {"super_read_only": "ON"}
    assert facts.last_write is not None


def test_a_killed_server_is_cleared_though_it_left_socket_and_lock_files(servers: Servers) -> None:
    server = servers.make("killed")
    kill(server)
    assert server.socket.exists()
    assert clear(server, "be rebuilt").covers_something


def test_where_there_is_nothing_there_is_nothing_to_find(down: Server) -> None:
    shutil.rmtree(down.datadir)
    assert look(down.datadir, archived=GtidSet(), quiet=timedelta(days=1)) == ()
    down.datadir.mkdir()
    assert look(down.datadir, archived=GtidSet(), quiet=timedelta(days=1)) == ()


def test_a_hundred_findings_fit_on_one_screen() -> None:
    found = [Finding("process", f"process {number}") for number in range(100)] + [Finding("lock", "locked")]
    assert grouped(found) == {"process": [*(f"process {n}" for n in range(5)), "and 95 more"], "lock": ["locked"]}
