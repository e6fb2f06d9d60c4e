"""Compiles the hot loops once, and keeps what was compiled where whoever runs them finds it again.

numba's own cache takes a folder only if it can be written. So it passes over what was compiled with an installation
that belongs to root, as in an image, and compiles half a minute long for each user anew; with no folder to
write, importing fails. And a file of it that a power failure has cut off fails every import from then on.

Here reading needs no right to write. Looked at is what lies beside the source, compiled with the installation,
then the user's own folder, ``~/.cache/relight`` (``XDG_CACHE_HOME``); what is in neither is compiled and kept in the
first that can be written. ``NUMBA_CACHE_DIR`` stands in for both. Code is kept for the processor it was compiled for;
with ``NUMBA_CPU_NAME=generic`` it is one that any machine can run.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import pickle
import stat
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit
from numba.core import config, typeinfer
from numba.core.caching import CompileResultCacheImpl, FunctionCache, InTreeCacheLocator, _Cache

_BROKEN = (
    EOFError, pickle.UnpicklingError, AttributeError, ImportError, LookupError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""What a file that was cut off, or holds something else, can raise when it is read (see :mod:`pickle`)."""


def compiled(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function for one signature when it is defined, or load it where it was compiled before."""

    def compile_or_load(function: Callable[..., Any]) -> Any:
        loop: Any = njit(nogil=True)(function)
        if config.DISABLE_JIT:  # type: ignore[attr-defined]  # to debug: the function as it is
            return loop
        loop._cache = Kept(function)  # noqa: SLF001  enable_caching() has no other way to choose one
        with typeinfer.register_dispatcher(loop):
            loop.compile(signature)
        loop.disable_compile()
        return loop

    return compile_or_load


class Kept(_Cache):
    """What was compiled of one function, in the folders that may hold it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._layers = [_Layer(function, folder) for folder in _folders(Path(inspect.getfile(function)))]

    @property
    def cache_path(self) -> str:
        """Where it is looked for first."""
        return str(self._layers[0].cache_path)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function, None where no folder has it for this processor."""
        for layer in self._layers:
            found = layer.load_if_whole(sig, target_context)
            if found is not None:
                return found
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep it in the first folder that can be written."""
        for layer in self._layers:
            try:
                layer.save_overload(sig, data)
            except OSError:
                continue
            return
        tried = ", ".join(layer.cache_path for layer in self._layers)
        warnings.warn(
            f"compiled loops cannot be kept, so every process compiles them anew: {tried} cannot be written, and there"
            " is no folder for it that belongs to this user alone; name one, as NUMBA_CACHE_DIR",
            RuntimeWarning, stacklevel=2,
        )  # fmt: skip

    def enable(self) -> None:
        """It always is."""

    def disable(self) -> None:
        """It never is."""

    def flush(self) -> None:
        """Forget it everywhere."""
        for layer in self._layers:
            layer.flush()


class _Layer(FunctionCache):
    """What was compiled of one function, in one folder."""

    def __init__(self, function: Callable[..., Any], folder: Path) -> None:
        self._impl_class = lambda function: _Files(function, folder)
        super().__init__(function)

    def load_if_whole(self, sig: Any, target_context: Any) -> Any:
        """The compiled function. None where there is none, it may not be read, or its files are broken; these are
        then forgotten, since saving reads the index too."""
        try:
            return self.load_overload(sig, target_context)
        except OSError:
            return None
        except _BROKEN:
            try:
                self.flush()
            except OSError:
                pass  # what cannot be written is not saved to either
            return None


class _Files(CompileResultCacheImpl):
    """The names of the files, as numba chooses them, in a folder that is given."""

    def __init__(self, function: Callable[..., Any], folder: Path) -> None:
        source = inspect.getfile(function)
        self._locator = _Folder(function, source, folder)
        self._filename_base = self.get_filename_base(f"{Path(source).stem}.{function.__qualname__}", sys.abiflags)


class _Folder(InTreeCacheLocator):
    """A folder that is made when there is something to keep."""

    def __init__(self, function: Callable[..., Any], source: str, folder: Path) -> None:
        super().__init__(function, source)
        self._cache_path = str(folder)

    def ensure_cache_path(self) -> None:
        """Only asked before something is saved. What it makes only its owner can write, whatever the umask is."""
        folder = Path(self._cache_path)
        for each in (*reversed(folder.parents), folder):
            each.mkdir(mode=0o755, exist_ok=True)


def _folders(source: Path) -> list[Path]:
    """Where the compiled code of a source file may lie, the first choice first."""
    place = f"{source.parent.name}_{hashlib.sha256(bytes(source.parent.resolve())).hexdigest()[:16]}"
    if chosen := config.CACHE_DIR:  # type: ignore[attr-defined]  # made when numba is imported
        return [Path(chosen) / place]
    beside, own = source.parent / "__pycache__", _own_cache()
    return [beside] if own is None else [beside, own / "relight" / place]


def _own_cache() -> Path | None:
    """Where this user keeps what can be made again. None for one without a home: none is made in its place.

    None too where another could have put code there, since what is loaded is run: with sudo, HOME may be another's.
    """
    if os.environ.get("XDG_CACHE_HOME"):
        cache = Path(os.environ["XDG_CACHE_HOME"])
    elif os.environ.get("HOME", "/") != "":
        # Where there is no home at all, this gives a relative path: one below the current folder.
        cache = Path(os.path.expanduser("~/.cache"))  # noqa: PTH111  the other one raises
    else:
        return None
    try:
        found = (cache if cache.exists() else cache.parent).stat()
    except OSError:
        return None
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return cache if cache.is_absolute() and mine and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) else None
