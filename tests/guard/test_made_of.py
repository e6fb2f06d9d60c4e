"""Mounts that are made of the directory: real overlays, and a real server in one, as in a container without a volume."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.errors import GuardRefused
from relight.fleet import Server
from relight.guard import layers, mounts
from relight.guard.clearance import clear, set_aside
from relight.guard.directory import contents_of
from relight.guard.layers import Part, parts_of
from relight.guard.looking import in_use, look
from relight.guard.mounts import Mount
from relight.server import mysqld
from tests.support.guarding import bind_mount, kinds, needs_root, overlay, refused, told, tree
from tests.support.servers import Servers


@pytest.mark.parametrize("role", ["upperdir", "workdir", "lowerdir"])
def test_a_layer_of_an_overlay_is_refused(down: Server, tmp_path: Path, role: str) -> None:
    data, called = down.datadir, f"{role.removesuffix('dir')} directory"
    if role == "workdir":
        (data / "work").mkdir()  # the kernel empties it when it is mounted, and needs nothing else there
    at = f"the {called} of a mount (overlay) at {tmp_path / 'm'}"
    with overlay(tmp_path / "m", **{role: data}):
        assert f"{data} is {at}" in refused(down)
        assert f"{data / 'mysql'} lies in {data}, {at}" in told(look(data / "mysql"), "mount")
        assert f"{data.parent} holds {data}, {at}" in told(look(data.parent), "mount")
    (data / "deep").mkdir()
    with overlay(tmp_path / "m", **{role: data / "deep"}):
        assert f"{data} holds {data / 'deep'}, {at}" in refused(down)
    with overlay(tmp_path / "m", **{role: data.parent}):
        assert f"{data} lies in {data.parent}, {at}" in refused(down)


def test_every_lower_directory_counts(down: Server, tmp_path: Path) -> None:
    for name in ("first", "last"):
        (tmp_path / name).mkdir()
    with overlay(tmp_path / "m", lowerdir=f"{tmp_path / 'first'}:{down.datadir}:{tmp_path / 'last'}"):
        assert f"{down.datadir} is the lower directory of" in refused(down)


@pytest.mark.parametrize("name", ["a:b", "a,b", "a\\b", "a b\té", "x,upperdir=y", "\\"])
def test_a_name_that_has_to_be_written_in_another_way_is_understood(down: Server, tmp_path: Path, name: str) -> None:
    down = down.model_copy(update={"datadir": down.datadir.rename(down.datadir.with_name(name))})
    escaped = str(down.datadir).replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
    for role in ("lowerdir", "upperdir"):
        with overlay(tmp_path / "m", **{role: escaped}):
            assert f"{down.datadir} is the {role.removesuffix('dir')} directory of" in refused(down)


@pytest.mark.parametrize("by", ["name", "descriptor"])
@pytest.mark.parametrize("role", ["lowerdir+", "datadir+", "upperdir"])
def test_what_the_new_calls_have_mounted_is_understood(down: Server, tmp_path: Path, role: str, by: str) -> None:
    down = down.model_copy(update={"datadir": down.datadir.rename(down.datadir.with_name("a:b,c\\d"))})
    parts = {"lowerdir+": tmp_path / "l", "upperdir": tmp_path / "u", "workdir": tmp_path / "w"}
    if role == "datadir+":
        parts = {"lowerdir+": tmp_path / "l", "datadir+": down.datadir, "metacopy": Path("on")}
    parts[role] = down.datadir
    if role == "upperdir":
        parts["workdir"] = down.datadir.with_name("w")
    with mounted_by_the_new_calls(tmp_path / "m", parts, by_name=by == "name"):
        assert f"is the {layers._OVERLAY[role]} of a mount (overlay) at {tmp_path / 'm'}" in refused(down)


@contextlib.contextmanager
def mounted_by_the_new_calls(point: Path, parts: dict[str, Path], *, by_name: bool) -> Iterator[None]:
    """An overlay by fsopen(2) and fsconfig(2), its directories given by their names or as open descriptors."""
    needs_root("mounting")
    library = ctypes.CDLL(None, use_errno=True)

    def call(number: int, *arguments: object) -> int:
        result: int = library.syscall(number, *arguments)
        if result < 0:
            pytest.skip(f"this kernel does not mount overlays so: {os.strerror(ctypes.get_errno())} ({number})")
        return result

    context = call(430, b"overlay", 0)
    try:
        for name, path in parts.items():
            if by_name or not path.is_absolute():
                if path.is_absolute():
                    path.mkdir(exist_ok=True)
                # Of the name with a backslash, only the old option is read as an escaped one.
                text = str(path).replace("\\", "\\\\").replace(":", "\\:") if name == "upperdir" else str(path)
                call(431, context, 1, name.encode(), text.encode(), 0)
            else:
                path.mkdir(exist_ok=True)
                handle = os.open(path, os.O_PATH | os.O_DIRECTORY)
                call(431, context, 5, name.encode(), None, handle)
                os.close(handle)
        call(431, context, 6, None, None, 0)
        made = call(432, context, 0, 0)
    finally:
        os.close(context)
    point.mkdir()
    call(429, made, b"", -100, str(point).encode(), 4)
    os.close(made)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", point], check=True)


def test_relative_paths_are_taken_for_the_directory_that_they_may_mean(down: Server, tmp_path: Path) -> None:
    home, data = down.datadir.parent, down.datadir
    for name in ("lower", "work-of-overlay", "another"):
        (home / name).mkdir()
    point, others = tmp_path / "m", {"lowerdir": "lower", "workdir": "work-of-overlay"}
    with overlay(point, cwd=home, upperdir="data", **others):
        assert f"{data} may hold data, the upper directory of a mount (overlay) at {point}" in refused(down)
        assert f"{data / 'mysql'} may lie in data, the upper" in told(look(data / "mysql"), "mount")
        assert look(home / "another") == ()
    (data / "x" / "deep").mkdir(parents=True)
    with overlay(point, cwd=data / "x", upperdir="deep", workdir=home / "work-of-overlay"):
        assert f"{data} may hold deep, the upper directory of" in refused(down)
    # As container engines do it: from the folder that holds the mount point too, by way of short links.
    (home / "l").mkdir()
    (home / "l" / "SHORT").symlink_to("../data")
    with overlay(home / "merged", cwd=home, lowerdir="l/SHORT", upperdir="another", workdir="work-of-overlay"):
        assert f"{data} is the lower directory of a mount (overlay) at {home / 'merged'}" in refused(down)


def test_a_layer_under_another_name_of_a_bind_mount_is_refused(down: Server, tmp_path: Path) -> None:
    with bind_mount(down.datadir.parent, tmp_path / "b"), overlay(tmp_path / "m", lowerdir=tmp_path / "b" / "data"):
        assert f"{down.datadir} is the lower directory of a mount (overlay)" in refused(down)


def test_an_overlay_of_other_directories_is_no_sign_of_life_nor_is_what_it_shows(down: Server, tmp_path: Path) -> None:
    with overlay(tmp_path / "m", lowerdir=down.datadir.with_name("work")):
        assert look(down.datadir, server=down) == ()
        assert look(down.datadir.with_name("data2")) == ()
        (tmp_path / "m" / "shown").mkdir()
        assert look(tmp_path / "m" / "shown") == ()


@contextlib.contextmanager
def in_an_overlay(
    server: Server, inside: Path, role: str, *, lazily: bool = False, layer: Path | None = None
) -> Iterator[int]:
    """The server in a mount namespace of its own, on an overlay of which its home is a layer, or ``layer`` above it, as
    in a container that has no volume. Gives its process."""
    needs_root("a mount namespace")
    home, other = layer or server.datadir.parent, {"upperdir": "lowerdir", "lowerdir": "upperdir"}[role]
    for name in ("m", "other", "w"):
        (inside / name).mkdir(parents=True)
    if role == "upperdir":
        (home.with_name("w")).mkdir()
    work = home.with_name("w") if role == "upperdir" else inside / "w"
    mount = f"mount -t overlay overlay -o {role}={home},{other}={inside / 'other'},workdir={work} {inside / 'm'}"
    options = [
        f"--datadir={inside}/m/{server.datadir.relative_to(home)}",
        f"--socket={inside}/s",
        f"--pid-file={inside}/pid",
        "--skip-networking",
    ]
    arguments = [server.mysqld, f"--defaults-file={server.options_file}", *mysqld.run_as_options(server), *options]
    with (inside / "out").open("wb") as log:
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh", *arguments], stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 120
        while not (inside / "s").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        if process.poll() is not None:
            text = (inside / "out").read_text()
            if "unshare failed" in text or "mount:" in text:
                pytest.skip(f"overlays in mount namespaces are not allowed here: {text.strip()}")
            pytest.fail(text)
        if lazily:
            subprocess.run(
                ["nsenter", "--mount", f"--target={process.pid}", "umount", "--lazy", inside / "m"], check=True
            )
        yield process.pid
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("role", ["upperdir", "lowerdir"])
def test_a_server_in_a_container_without_a_volume_is_seen_through_its_overlay(
    servers: Servers, tmp_path: Path, role: str
) -> None:
    server = servers.make("container", start=False)
    with in_an_overlay(server, tmp_path / "inside", role) as pid:
        seen = refused(server, living=True)
        called = f"the {role.removesuffix('dir')} directory of a mount (overlay) at {tmp_path / 'inside' / 'm'}"
        assert f"lies in {server.datadir.parent}, {called} in the mount namespace of process {pid} (" in seen
        assert f"process {pid} (" in told(look(server.datadir), "process"), "by its files too"
        assert look(server.datadir.with_name("work")) != (), "it lies in that layer as well"
        assert look(server.datadir.parent.with_name("elsewhere")) == ()


def test_an_overlay_of_the_whole_machine_is_a_sign_of_life_only_for_what_is_used_by_way_of_it(
    servers: Servers, tmp_path: Path
) -> None:
    """Tools that try something out lay the root of the machine below an overlay: that says nothing of one directory."""
    used, idle = servers.make("used", start=False), servers.make("idle", start=False)
    with in_an_overlay(used, tmp_path / "inside", "lowerdir", layer=Path("/")) as pid:
        assert look(idle.datadir, server=idle) == ()
        assert f"process {pid} (" in told(look(used.datadir), "process")
        assert f"process {pid} (" in refused(used, living=True)


def test_a_server_whose_overlay_was_unmounted_under_it_is_seen_by_its_files(servers: Servers, tmp_path: Path) -> None:
    server = servers.make("container", start=False)
    with in_an_overlay(server, tmp_path / "inside", "upperdir", lazily=True) as pid:
        assert "overlay" not in told(look(server.datadir), "mount"), "nothing shows what it is made of"
        assert f"process {pid} (" in refused(server, living=True)


def test_a_server_on_a_layer_is_seen_from_the_overlay_that_shows_it(alive: Server, tmp_path: Path) -> None:
    with overlay(tmp_path / "m", lowerdir=alive.datadir.parent):
        assert "process" in kinds(look(tmp_path / "m" / "data"))


def test_an_overlay_that_is_mounted_after_the_look_is_found_by_the_second_one(down: Server, tmp_path: Path) -> None:
    before = tree(down.datadir)
    for role in ("upperdir", "lowerdir"):
        clearance = clear(down, "be rebuilt")
        with overlay(tmp_path / "m", **{role: down.datadir / "mysql"}):
            with pytest.raises(GuardRefused, match=f"hold.* the {role[:5]} directory of a mount") as error:
                set_aside(clearance)
            assert "put back" in error.value.hint
    assert tree(down.datadir).keys() == before.keys()


def test_a_name_that_was_written_down_before_a_renaming_is_still_known(down: Server, tmp_path: Path) -> None:
    new = down.datadir.with_name("renamed")
    with overlay(tmp_path / "m", lowerdir=down.datadir):
        down.datadir.rename(new)
        seen = [one.what for one in in_use(contents_of(new), to_be_renamed=True, formerly=down.datadir)]
        assert any("lower directory of a mount (overlay)" in one for one in seen)


def test_in_a_container_what_its_own_root_is_made_of_is_no_sign_of_life(tmp_path: Path) -> None:
    """The guard in a mount namespace whose root is an overlay, with everything of the host below it."""
    needs_root("a mount namespace")
    project = Path(__file__).resolve().parents[2]
    folders = " ".join(f"'{one}'" for one in ("/proc", "/sys", "/dev", project, sys.base_prefix))
    (tmp_path / "m").mkdir()
    for name in ("u", "w"):
        (tmp_path / name).mkdir()
    (tmp_path / "u" / "srv" / "data" / "mysql").mkdir(parents=True)
    (tmp_path / "u" / "srv" / "data" / "auto.cnf").write_text(
        "[auto]\nserver-uuid=3e11fa47-71ca-11e1-9e33-c80aa9429562\n"
    )
    script = (
        f"mount -t overlay root -o lowerdir=/,upperdir={tmp_path}/u,workdir={tmp_path}/w {tmp_path}/m || exit 99\n"
        f"for f in {folders}; do mkdir -p {tmp_path}/m$f && mount --rbind $f {tmp_path}/m$f || exit 98; done\n"
        f"exec chroot {tmp_path}/m {sys.executable} -m relight.cli.main guard /srv/data --quiet 0 --archived ''"
    )
    command = ["unshare", "--mount", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 99 or "unshare failed" in done.stderr:
        pytest.skip(f"overlays in mount namespaces are not allowed here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert look(tmp_path / "u" / "srv" / "data") == (), "nothing of that namespace is left"


def shown(line: str) -> Mount:
    return next(iter(mounts.parsed([line.encode()])))


def test_other_unions_and_sources_are_read(tmp_path: Path) -> None:
    def parts(line: str) -> list[tuple[str, ...]]:
        return [part.readings for part in parts_of(shown(line))]

    assert parts("50 27 0:50 / /m rw - aufs none rw,br:/a\\040b=rw:/b=ro") == [("/a b",), ("/b",)]
    assert parts("50 27 0:50 / /m rw - unionfs unionfs rw,dirs=/a=rw:/b=ro") == [("/a",), ("/b",)]
    assert parts("50 27 0:50 / /m rw - ecryptfs /srv/secret rw,ecryptfs_sig=1") == [("/srv/secret",)]
    assert parts("50 27 0:50 / /m rw - fuse /srv/data rw,user_id=0") == [("/srv/data",)]
    assert parts("50 27 0:50 / /m rw - fuse.mergerfs /a:/b rw") == [("/a",), ("/b",)]
    assert parts("50 27 0:50 / /m rw - fuse.sshfs me@there:/srv rw") == []
    assert parts("50 27 0:50 / /tmp rw - tmpfs /tmp rw") == []
    assert parts("50 27 8:1 / /m rw - ext4 /dev/sda1 rw") == []
    assert parts("50 27 0:50 / /m rw - overlay o rw,lowerdir=/a::/b,uuid=on") == [("/a",), ("/b",)]


def test_what_a_process_that_serves_a_mount_was_told_counts(tmp_path: Path) -> None:
    words = ["-o", f"lowerdir={tmp_path}/l:/b,upperdir={tmp_path}/data", str(tmp_path / "m")]
    process = subprocess.Popen([sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)", *words],
                               stdout=subprocess.PIPE)  # fmt: skip
    try:
        assert process.stdout is not None
        process.stdout.readline()
        found = parts_of(shown(f"50 27 0:50 / {tmp_path}/m rw - fuse.fuse-overlayfs fuse-overlayfs rw"))
        role = f"directory named to process {process.pid}"
        assert set(found) == {Part(role, (path,)) for path in ("/b", f"{tmp_path}/data", f"{tmp_path}/l")}
        assert not parts_of(shown(f"50 27 0:50 / {tmp_path}/other rw - fuse.fuse-overlayfs fuse-overlayfs rw"))
    finally:
        process.kill()
        process.communicate()
