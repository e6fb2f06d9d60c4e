"""What the guard refused, and that nothing on disk was changed by it."""

from __future__ import annotations

import contextlib
import os
import subprocess
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
