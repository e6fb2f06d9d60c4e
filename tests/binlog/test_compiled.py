"""Compiled code is compiled once: for every user of an installation, and whatever its files look like."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from numba.core.dispatcher import Dispatcher

from relight.binlog import kernels
from relight.binlog.compiled import Kept, _folders

LOOP = """
from numba import int64
from relight.binlog.compiled import compiled

@compiled(int64(int64))
def double(n):
    return 2 * n

@compiled(int64(int64))
def triple(n):
    return 3 * n

@compiled(int64(int64))
def square(n):
    return n * n

@compiled(int64(int64))
def cube(n):
    return n * n * n
"""
USE = """
import loop
assert (loop.double(7), loop.triple(7), loop.square(7), loop.cube(7)) == (14, 21, 49, 343)
known = [each.stats for each in (loop.double, loop.triple, loop.square, loop.cube)]
loaded, made = ({sum(counts.values()) for counts in each} for each in zip(*((s.cache_hits, s.cache_misses) for s in known)))
assert (loaded, made) in (({1}, {0}), ({0}, {1})), (loaded, made)
print("loaded" if loaded == {1} else "compiled")
"""


@dataclass
class Installation:
    """A module with one compiled loop, and the home of the user who runs it."""

    package: Path
    home: Path

    @property
    def kept(self) -> Path:
        return self.package / "__pycache__"

    @property
    def own(self) -> Path:
        return self.home / ".cache" / "relight"

    def use(self, **environment: str) -> str:
        """``loaded`` or ``compiled``, by a process without the right to write where the mode of a file denies it."""
        done = self.run(**environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        known = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "XDG_"))}
        known |= {"HOME": str(self.home), "PYTHONPATH": str(self.package), **environment}
        # root may write everywhere; not without these.
        as_others = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"] if os.geteuid() == 0 else []
        return subprocess.run(
            [*as_others, sys.executable, "-B", "-c", USE],
            env=known, cwd=self.home.parent, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def deny(self, *folders: Path) -> None:
        for folder in folders:
            folder.chmod(0o555)


@pytest.fixture
def installed(tmp_path: Path) -> Installation:
    package, home = tmp_path / "package", tmp_path / "home"
    package.mkdir()
    home.mkdir()
    (package / "loop.py").write_text(LOOP, encoding="utf-8")
    return Installation(package, home)


@pytest.fixture
def shared(installed: Installation) -> Installation:
    """As it is in an image: compiled by whoever installed it, and nobody else can write there."""
    assert installed.use() == "compiled"
    assert list(installed.kept.glob("*.nbc"))
    installed.deny(installed.package, installed.kept, installed.home)
    return installed


def test_who_cannot_write_the_installation_loads_what_was_compiled_with_it(shared: Installation) -> None:
    assert shared.use() == "loaded"
    assert not list(shared.home.iterdir())


def test_what_was_compiled_for_another_processor_is_compiled_once_into_the_users_own_folder(
    installed: Installation,
) -> None:
    assert installed.use(NUMBA_CPU_NAME="generic") == "compiled"
    installed.deny(installed.package, installed.kept)
    before = sorted(installed.kept.iterdir())
    assert [installed.use(), installed.use()] == ["compiled", "loaded"]
    assert sorted(installed.kept.iterdir()) == before
    assert list(installed.own.rglob("*.nbc"))


def test_where_nothing_can_be_written_it_is_compiled_and_said(installed: Installation) -> None:
    installed.deny(installed.package, installed.home)
    done = installed.run()
    assert (done.returncode, done.stdout.strip()) == (0, "compiled"), done.stderr
    assert "NUMBA_CACHE_DIR" in done.stderr


@pytest.mark.parametrize(
    "home", ["", "relative", "/nonexistent", "{tmp}/absent", "{tmp}/open", "{tmp}/group", "{tmp}/file"]
)
@pytest.mark.parametrize("by", ["HOME", "XDG_CACHE_HOME"])
def test_a_home_that_is_none_or_not_ones_own_has_no_code_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str, by: str
) -> None:
    """Whoever may write there could have put it there; and none is made where there is no home."""
    (tmp_path / "file").touch()
    for name, mode in {"open": 0o777, "group": 0o775}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "relative").mkdir()
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "")
    monkeypatch.setenv(by, home.format(tmp=tmp_path) + ("/cache" if by == "XDG_CACHE_HOME" and home else ""))
    assert _folders(tmp_path / "loop.py") == [tmp_path / "__pycache__"]


def test_ones_own_home_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    beside, own = _folders(tmp_path / "loop.py")
    assert (beside, own.parent) == (tmp_path / "__pycache__", tmp_path / ".cache" / "relight")


def test_files_that_were_cut_off_are_made_anew(installed: Installation) -> None:
    """As a power failure leaves them: one loop's index, the code of another."""
    assert installed.use() == "compiled"
    for name, ending, size in (("double", "nbi", 0), ("triple", "nbi", 40), ("square", "nbc", 0), ("cube", "nbc", 500)):
        (kept,) = installed.kept.glob(f"loop.{name}-*.{ending}")
        assert kept.stat().st_size > size
        kept.write_bytes(kept.read_bytes()[:size])
    assert [installed.use(), installed.use()] == ["compiled", "loaded"]


def test_every_loop_with_a_signature_is_kept_in_this_way() -> None:
    loops = {name: loop for name, loop in vars(kernels).items() if isinstance(loop, Dispatcher) and loop.signatures}
    with_signature = {name for name, loop in loops.items() if not loop._can_compile}
    assert with_signature
    assert {name for name in with_signature if not isinstance(loops[name]._cache, Kept)} == set()
