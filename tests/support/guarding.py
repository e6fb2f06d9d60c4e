"""What the guard refused, and that nothing on disk was changed by it."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.errors import GuardRefused
from relight.fleet import Server
from relight.guard.clearance import clear
from relight.guard.finding import Finding

Tree = dict[str, tuple[int, int, int]]


def tree(folder: Path, *, living: bool = False) -> Tree:
    """Names, inodes, sizes and times of everything below a folder; of one that a server writes to, names and inodes
    of its data files."""
    found: Tree = {}
    for path in sorted([folder, *folder.rglob("*.ibd" if living else "*")]):
        with contextlib.suppress(FileNotFoundError):  # a server removes files of its own
            info = path.lstat()
            plain = path.is_file() and not living
            name = str(path.relative_to(folder))
            found[name] = (info.st_ino, info.st_size, info.st_mtime_ns) if plain else (info.st_ino, 0, 0)
    return found


def refused(server: Server, *, living: bool = False) -> str:
    """Why a clearance was refused. Checks that nothing was changed."""
    home = server.datadir.parent
    before = tree(home, living=living)
    with pytest.raises(GuardRefused) as error:
        clear(server, "be rebuilt")
    assert "nothing was touched" in error.value.hint
    assert tree(home, living=living) == before
    return error.value.why


@contextlib.contextmanager
def bind_mount(source: Path, point: Path) -> Iterator[None]:
    """Show a directory at another place; skips the test where that is not allowed."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    point.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(["mount", "--bind", source, point], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", point], check=True)


def kinds(found: tuple[Finding, ...]) -> set[str]:
    """Of what there are findings."""
    return {finding.kind for finding in found}


def told(found: tuple[Finding, ...], kind: str) -> str:
    """What was found of a kind."""
    return "; ".join(finding.what for finding in found if finding.kind == kind)


def needs_root(what: str) -> None:
    """Skip the test where it may not do that."""
    if os.geteuid() != 0:
        pytest.skip(f"{what} needs root")


@contextlib.contextmanager
def overlay(point: Path, *, cwd: Path | None = None, **parts: str | Path) -> Iterator[None]:
    """Mount an overlay with mount(2), which takes its options as they are; skips the test where that is not allowed.

    Without ``upperdir``, ``lowerdir`` or ``workdir`` new ones are made beside the mount point.
    """
    needs_root("mounting")
    point.mkdir(parents=True, exist_ok=True)
    for name in {"upperdir", "lowerdir", "workdir"} - set(parts):
        parts[name] = point.with_name(f"{point.name}.{name}")
        Path(parts[name]).mkdir(exist_ok=True)
    options = ",".join(f"{name}={value}" for name, value in parts.items())
    # A child, since paths may be relative to its working directory.
    script = f"import ctypes, sys; l = ctypes.CDLL(None, use_errno=True); {_MOUNTS}; sys.exit(ctypes.get_errno())"
    done = subprocess.run([sys.executable, "-c", script, point, options], cwd=cwd, check=False)
    if done.returncode in (errno.EPERM, errno.ENODEV):
        pytest.skip(f"overlays cannot be mounted here: {os.strerror(done.returncode)}")
    assert done.returncode == 0, f"{os.strerror(done.returncode)}: {options}"
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", point], check=True)


_MOUNTS = "l.mount(b'overlay', sys.argv[1].encode(), b'overlay', 0, sys.argv[2].encode())"


@contextlib.contextmanager
def loop_device(file: Path, size: int = 16 * 2**20) -> Iterator[Path]:
    """A loop device on a file, which is made if it is not there; skips the test where there are none."""
    needs_root("a loop device")
    if not file.exists():
        with file.open("wb") as stream:
            stream.truncate(size)
    attached = subprocess.run(["losetup", "--find", "--show", file], capture_output=True, check=False, text=True)
    if attached.returncode:
        pytest.skip(f"loop devices are not allowed here: {attached.stderr.strip()}")
    device = Path(attached.stdout.strip())
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
