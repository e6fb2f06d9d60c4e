"""Whatever could be alive refuses, and nothing is changed on disk; what is down is clear."""

from __future__ import annotations

import contextlib
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
from tests.support.guarding import bind_mount, refused
from tests.support.servers import Servers, kill


def kinds(found: tuple[Finding, ...]) -> set[str]:
    return {finding.kind for finding in found}


def told(found: tuple[Finding, ...], kind: str) -> str:
    return "; ".join(finding.what for finding in found if finding.kind == kind)


def test_a_running_server_is_refused_with_everything_that_was_seen(alive: Server) -> None:
    seen = refused(alive, living=True)
    assert f"something answers on 127.0.0.1:{alive.port}" in seen
    assert f"something answers on {alive.socket}" in seen
    pid = mysqld.running_pid(alive)
    assert pid is not None
    assert f"process {pid} (" in seen
    assert f"open below {alive.datadir}" in seen
    assert f"holds the InnoDB lock of {alive.datadir}" in seen
    assert f"process {pid} ({command_of(pid)}) listens on 127.0.0.1:{alive.port}" in seen
    assert f"process {pid} ({command_of(pid)}) listens on {alive.socket}" in seen


def test_its_directory_alone_tells_as_much(alive: Server) -> None:
    found = look(alive.datadir, archived=GtidSet(), quiet=timedelta(hours=1))
    assert {"process", "lock", "port", "socket", "recent write"} <= kinds(found)
    assert "hidden" not in kinds(found), "root sees everything"


def test_clients_and_replicas_that_are_attached_are_counted(servers: Servers) -> None:
    source = servers.make("source")
    assert not {"client", "replica"} & kinds(look(source.datadir))
    (replica,) = servers.make_replicas(source, 1)
    with servers.connect(source), socket.create_connection(("127.0.0.1", source.port)):
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
    assert f"is connected to 127.0.0.1:{source.port}, as a replica to its source" in at_replica
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
    server.socket.unlink()
    shutil.rmtree(server.datadir)
    assert "open below" in told(look(server.datadir), "process")


def test_another_name_of_a_living_data_directory_does_not_help(alive: Server, tmp_path: Path) -> None:
    (tmp_path / "other").symlink_to(alive.datadir)
    disguised = alive.model_copy(update={"datadir": tmp_path / "other", "port": 1, "socket": tmp_path / "s"})
    seen = refused(disguised, living=True)
    assert "is a symbolic link" in seen
    assert "open below" in seen


def test_a_bind_mount_of_a_living_directory_is_refused(alive: Server, tmp_path: Path) -> None:
    with bind_mount(alive.datadir, tmp_path / "data"):
        found = look(tmp_path / "data")
        assert f"open below {tmp_path / 'data'}" in told(found, "process")
        assert "InnoDB lock" in told(found, "lock")
        assert f"{tmp_path / 'data'} is also mounted at" not in told(found, "mount")
        assert "is a mount point: of " in told(found, "mount")
        assert f"{alive.datadir} is also mounted at {tmp_path / 'data'}" in told(look(alive.datadir), "mount")
        disguised = alive.model_copy(update={"datadir": tmp_path / "data", "port": 1, "socket": tmp_path / "s"})
        assert "open below" in refused(disguised, living=True)


def test_a_directory_below_a_bind_mount_of_a_living_server_s_home_is_refused(alive: Server, tmp_path: Path) -> None:
    with bind_mount(alive.datadir.parent, tmp_path / "home"):
        assert "process" in kinds(look(tmp_path / "home" / "data"))


def test_a_directory_mounted_below_is_refused(down: Server, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    with bind_mount(tmp_path / "more", down.datadir / "d"):
        assert f"something is mounted on {down.datadir / 'd'}" in refused(down)


@pytest.mark.parametrize("name", ["data", "a b\\é"])
def test_a_mount_point_is_refused_since_it_cannot_be_renamed(down: Server, name: str) -> None:
    down = down.model_copy(update={"datadir": down.datadir.with_name(name)})
    down.datadir.mkdir(exist_ok=True)
    with bind_mount(down.datadir, down.datadir):
        assert "is a mount point" in refused(down)


@pytest.fixture
def elsewhere(servers: Servers, tmp_path: Path) -> Iterator[tuple[Server, int]]:
    """A server in a mount namespace of its own, in which its home has another name. Gives it, and its process."""
    server = servers.make("elsewhere", start=False)
    inside = tmp_path / "inside"
    inside.mkdir()
    options = [f"--datadir={inside}/data", f"--socket={inside}/s", f"--pid-file={inside}/pid", "--skip-networking"]
    arguments = [server.mysqld, f"--defaults-file={server.options_file}", *mysqld.run_as_options(server), *options]
    script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    log = (tmp_path / "out").open("wb")
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script, "sh", server.datadir.parent, inside, *arguments],
        stdout=log, stderr=log,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (server.datadir.parent / "s").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    if process.poll() is not None:
        text = (tmp_path / "out").read_text()
        if "unshare failed" in text or "mount:" in text:
            pytest.skip(f"mount namespaces are not allowed here: {text.strip()}")
        pytest.fail(text)
    yield server, process.pid
    process.kill()
    process.wait()
    log.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace needs root")
def test_a_server_in_another_mount_namespace_is_refused(elsewhere: tuple[Server, int]) -> None:
    server, pid = elsewhere
    assert mysqld.running_pid(server) is None, "its files have other names there"
    assert f"process {pid} ({command_of(pid)}, as root) in another mount namespace has" in refused(server, living=True)


@contextlib.contextmanager
def in_a_namespace(directory: Path, inside: Path, command: str) -> Iterator[int]:
    """A process for which the directory is mounted at ``inside``, and which then runs the command."""
    if os.geteuid():
        pytest.skip("a mount namespace needs root")
    inside.mkdir()
    script = f'mount --bind "$1" "$2" && echo mounted && cd / && exec {command}'
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script, "sh", directory, inside],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        if line != "mounted\n":
            pytest.skip(f"mount namespaces are not allowed here: {line.strip()}")
        while command_of(process.pid) == "sh":
            time.sleep(0.05)
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def test_a_container_that_has_the_directory_mounted_is_refused_though_no_server_runs_there(
    down: Server, tmp_path: Path
) -> None:
    with in_a_namespace(down.datadir, tmp_path / "inside", "sleep 60") as pid:
        where = f"in the mount namespace of process {pid} (sleep)"
        assert f"{down.datadir} is mounted at {tmp_path / 'inside'} {where}" in refused(down)
    with in_a_namespace(down.datadir / "mysql", tmp_path / "part", "sleep 60"):
        assert f"{down.datadir} is mounted at {tmp_path / 'part'} (its mysql) in the mount" in refused(down)


def test_files_that_a_container_has_open_of_a_directory_that_was_removed_are_seen(down: Server, tmp_path: Path) -> None:
    with in_a_namespace(down.datadir.parent, tmp_path / "inside", 'sleep 60 3<"$2/data/ibdata1"') as pid:
        assert f"process {pid} (sleep, as root) in another mount namespace has 1 file open" in refused(down)
        shutil.rmtree(down.datadir)
        assert f"process {pid} (" in told(look(down.datadir), "process")
        assert look(down.datadir.parent / "another") == ()


def test_a_namespace_that_only_copies_ours_is_no_sign_of_life(down: Server) -> None:
    if os.geteuid() or subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("mount namespaces are not allowed here")
    process = subprocess.Popen(["unshare", "--mount", "sh", "-c", "echo up; exec sleep 60"], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        assert look(down.datadir) == ()
    finally:
        process.kill()
        process.communicate()


def test_something_else_on_the_port_or_the_socket_is_a_sign_of_life(down: Server) -> None:
    with socket.create_server(("127.0.0.1", down.port)):
        assert f"answers on 127.0.0.1:{down.port}" in refused(down)
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
