"""The same directory under other names: bind mounts, mount namespaces, what is mounted on it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.fleet import Server
from relight.guard import mounts
from relight.guard.looking import look
from relight.guard.mounts import Location, Table, locate
from relight.guard.proc import command_of
from relight.server import mysqld
from tests.support.guarding import bind_mount, kinds, refused, told
from tests.support.servers import Servers


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


@pytest.fixture
def firewalled(servers: Servers, tmp_path: Path) -> Iterator[tuple[Server, int]]:
    """A server in a network namespace of its own: nobody outside reaches its port. Gives it, and its process."""
    if os.geteuid():
        pytest.skip("a network namespace needs root")
    if subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True).returncode:
        pytest.skip("network namespaces are not allowed here")
    server = servers.make("firewalled", start=False)
    arguments = [server.mysqld, f"--defaults-file={server.options_file}", *mysqld.run_as_options(server)]
    with (tmp_path / "out").open("wb") as log:
        process = subprocess.Popen(
            ["unshare", "--net", *arguments, f"--datadir={server.datadir}"], stdout=log, stderr=log
        )
    try:
        mysqld.wait_until_up(server, servers.admin, process=process).close()  # by its socket, which is a file
        server.socket.unlink()
        yield server, process.pid
    finally:
        process.kill()
        process.wait()


def test_a_server_whose_port_nobody_reaches_is_refused_by_its_data_directory(firewalled: tuple[Server, int]) -> None:
    server, pid = firewalled
    assert not mysqld.port_answers(server)
    seen = refused(server, living=True)
    assert "answers on" not in seen
    assert f"process {pid} ({command_of(pid)}" in seen
    assert f"open below {server.datadir}" in seen
    assert f"holds the InnoDB lock of {server.datadir}" in seen


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


def parsed(*lines: str) -> Table:
    return mounts.parsed(line.encode() for line in lines)


TABLE = parsed(
    "22 27 0:21 / /proc rw - proc proc rw,hidepid=invisible",
    "27 1 8:1 /@ / rw,relatime shared:1 - ext4 /dev/sda1 rw",
    "30 27 8:2 / /srv rw - ext4 /dev/sdb1 rw",
    "31 30 8:3 / /srv/a\\040b rw - ext4 /dev/sdc1 rw",
    "32 30 8:4 / /srv/hidden/deep rw - ext4 /dev/sdd1 rw",
    "33 30 8:5 /part//deleted /srv/hidden rw - ext4 /dev/sde1 rw",
    "34 33 8:6 / /srv/hidden rw - ext4 /dev/sdf1 rw",
)


@pytest.mark.parametrize(
    ("path", "device", "inside"),
    [
        ("/", "8:1", "/@"), ("/var/lib", "8:1", "/@/var/lib"), ("/srv", "8:2", "/"), ("/srv/x", "8:2", "/x"),
        ("/srv/a b/c", "8:3", "/c"), ("/srvx", "8:1", "/@/srvx"),
        ("/srv/hidden/deep/x", "8:6", "/deep/x"),  # what was mounted there before is covered twice
    ],
)  # fmt: skip
def test_where_a_path_leads(path: str, device: str, inside: str) -> None:
    assert locate(TABLE, Path(path)) == Location(device, Path(inside))


def test_the_root_of_a_mount_may_be_gone() -> None:
    assert list(TABLE)[5].root == Path("/part")


def test_a_proc_that_hides_processes_is_noticed() -> None:
    assert mounts.hides_processes(TABLE)
    assert not mounts.hides_processes(parsed("22 27 0:21 / /proc rw - proc proc rw,hidepid=off"))
    assert not mounts.hides_processes(parsed("22 27 0:21 / /proc rw - proc proc rw"))
