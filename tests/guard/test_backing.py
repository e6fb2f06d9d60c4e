"""Files of the directory that the kernel uses by itself: real loop devices, what is built on them, real swap."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from relight.errors import GuardRefused
from relight.fleet import Server
from relight.guard import backing
from relight.guard.backing import exports_in
from relight.guard.clearance import clear, set_aside
from relight.guard.looking import look
from relight.guard.views import View
from tests.support.guarding import loop_device, needs_root, overlay, refused, told


def test_a_file_that_backs_a_loop_device_is_refused_mounted_or_not(down: Server, tmp_path: Path) -> None:
    image = down.datadir / "mysql" / "image"
    with loop_device(image) as device:
        assert f"{image} is the backing file of {device}" in refused(down)
        subprocess.run(["mkfs.ext4", "-q", device], check=True)
        (tmp_path / "m").mkdir()
        subprocess.run(["mount", device, tmp_path / "m"], check=True)
        try:
            assert f"{image} is the backing file of {device}" in told(look(down.datadir), "mount")
            (tmp_path / "m" / "data").mkdir()
            assert look(tmp_path / "m" / "data") == (), "what lies on it is not what it is made of"
        finally:
            subprocess.run(["umount", tmp_path / "m"], check=True)
    assert look(down.datadir) == ()


def test_a_backing_file_that_was_deleted_is_still_in_use(down: Server) -> None:
    image = down.datadir / "image"
    with loop_device(image) as device:
        image.unlink()
        assert f"{image} (deleted) is the backing file of {device}" in refused(down)
        assert look(down.datadir.with_name("work")) == ()


def test_a_backing_file_elsewhere_is_no_sign_of_life(down: Server) -> None:
    with loop_device(down.datadir.with_name("image")), loop_device(down.datadir.with_name("data2")):
        assert look(down.datadir) == ()


def test_a_backing_file_that_was_named_in_another_namespace_is_known_by_what_it_is(
    down: Server, tmp_path: Path
) -> None:
    needs_root("a mount namespace")
    image, inside = down.datadir / "image", tmp_path / "inside"
    inside.mkdir()
    with image.open("wb") as stream:
        stream.truncate(2**20)
    script = 'mount --bind "$1" "$2" && cd / && losetup --find --show "$2/image"'
    made = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", down.datadir, inside],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"loop devices in mount namespaces are not allowed here: {made.stderr.strip()}")
    try:
        assert f"is the backing file of {made.stdout.strip()}" in refused(down)
    finally:
        subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


def test_what_is_built_on_a_loop_device_is_told(down: Server) -> None:
    name = f"relight-{os.getpid()}"
    if shutil.which("dmsetup") is None:
        pytest.skip("there is no dmsetup here")
    with loop_device(down.datadir / "image") as device:
        made = subprocess.run(
            ["dmsetup", "create", name, "--table", f"0 2048 linear {device} 0"], capture_output=True, check=False
        )
        if made.returncode:
            pytest.skip(f"the device mapper is not allowed here: {made.stderr.decode().strip()}")
        try:
            assert f"is the backing file of {device}, below dm-" in refused(down)
        finally:
            subprocess.run(["dmsetup", "remove", "--retry", name], check=True)


def test_a_backing_file_that_was_opened_by_way_of_an_overlay_is_refused(down: Server, tmp_path: Path) -> None:
    (down.datadir / "image").write_bytes(b"\0" * 2**20)
    # The overlay's own layers would refuse as well: here it is only the file.
    with (
        overlay(tmp_path / "m", lowerdir=down.datadir.parent),
        loop_device(tmp_path / "m" / "data" / "image") as device,
    ):
        assert f"is the backing file of {device}" in told(look(down.datadir), "mount")


def test_a_loop_device_that_is_made_after_the_look_is_found_by_the_second_one(down: Server) -> None:
    clearance = clear(down, "be rebuilt")
    with loop_device(down.datadir / "image") as device:
        with pytest.raises(GuardRefused, match=f"the backing file of {device}"):
            set_aside(clearance)
        assert (down.datadir / "image").exists(), "it was put back"


def test_a_swap_file_is_refused(down: Server) -> None:
    needs_root("swapping")
    file = down.datadir / "swap space"
    file.write_bytes(b"\0" * 2**20)
    file.chmod(0o600)
    subprocess.run(["mkswap", "-q", file], check=True)
    begun = subprocess.run(["swapon", file], capture_output=True, check=False)
    if begun.returncode:
        pytest.skip(f"swap files are not allowed here: {begun.stderr.decode().strip()}")
    try:
        assert f"{file} is used for swapping" in refused(down)
        assert look(down.datadir.with_name("work")) == ()
    finally:
        subprocess.run(["swapoff", file], check=True)


def test_files_that_the_kernel_serves_as_disks_are_refused(
    down: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the kernel's targets name them: few kernels have those, so the tree that they show is made here."""
    target = tmp_path / "kernel" / "config" / "target" / "core" / "fileio_0" / "disk"
    target.mkdir(parents=True)
    (target / "udev_path").write_text(f"{down.datadir}/ibdata1\n")
    monkeypatch.setattr(backing, "_SYS", tmp_path)
    assert f"{down.datadir}/ibdata1 is served as a disk (iSCSI target)" in refused(down)
    (target / "udev_path").write_text(f"{down.datadir}2/ibdata1\n")
    assert look(down.datadir) == ()


def test_exported_directories_are_refused_while_the_server_runs(
    down: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As exports(5) and nfsd(7) have them: few kernels have an NFS server, so what it shows is made here."""
    table = tmp_path / "etab"
    (tmp_path / "fs" / "nfsd").mkdir(parents=True)
    threads = tmp_path / "fs" / "nfsd" / "threads"
    monkeypatch.setattr(backing, "_EXPORTS", (table,))
    monkeypatch.setattr(backing, "PROC", tmp_path)
    table.write_text(f"{down.datadir.parent}\t*(rw,sync)\n")
    for running, refuses in (("8\n", True), ("0\n", False)):
        threads.write_text(running)
        said = f"{down.datadir} lies in {down.datadir.parent}, a directory that the NFS server exports"
        assert (said in told(look(down.datadir), "mount")) == refuses
    threads.write_text("8\n")
    table.write_text(f"{down.datadir}2\t*(rw)\n")
    assert look(down.datadir) == ()


def test_exports_are_read_as_they_are_written() -> None:
    lines = ["# /no", "", "/srv/a  *(rw)", '"/srv/a b" host(ro)', "/srv/c\\040d\t*(rw)", "  /srv/e host # /no", "+:x"]
    assert list(exports_in(lines)) == ["/srv/a", "/srv/a b", "/srv/c d", "/srv/e"]


def test_many_overlays_in_many_namespaces_are_looked_up_once(
    down: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_root("mounting")
    asked: list[Path] = []
    resolved = View._resolved

    def counted(view: View, path: Path) -> str | None:
        if path.is_relative_to(tmp_path):  # there may be other containers on this machine
            asked.append(path)
        return resolved(view, path)

    monkeypatch.setattr(View, "_resolved", counted)
    (tmp_path / "m").mkdir()
    script = (
        f"mount -t tmpfs none {tmp_path}/m && cd {tmp_path}/m || exit 9; for i in $(seq 30); do mkdir $i u$i w$i && "
        f"mount -t overlay o -o lowerdir=/usr/lib:/usr/bin,upperdir={tmp_path}/m/u$i,workdir={tmp_path}/m/w$i $i || exit 9;"
        " done; for i in $(seq 20); do unshare --mount sleep 100 & done; echo up; exec sleep 100"
    )
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != b"up\n":
            pytest.skip("overlays in mount namespaces are not allowed here")
        assert look(down.datadir) == ()
        assert len(set(asked)) == 60
        assert len(asked) <= 3 * 60, "each path once for each different view, not for each of the namespaces"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
