"""The compiled inner loops, loaded when the first of them is called.

Numba and what it has compiled take longer to load than most commands take to answer, and most commands read no log.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["kernels"]

if TYPE_CHECKING:
    from relight.binlog import kernels
else:

    class _Kernels:
        """Has whatever :mod:`relight.binlog.kernels` has."""

        def __getattr__(self, name: str) -> Any:
            return getattr(import_module("relight.binlog.kernels"), name)

    kernels = _Kernels()
