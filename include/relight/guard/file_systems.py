"""Of what kind the file system is that a file lies on."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_OVERLAY = 0x794C7630
"""statfs(2), OVERLAYFS_SUPER_MAGIC."""
_SIZE = 512
"""More than any struct statfs has."""


def is_on_overlay(path: Path) -> bool:
    """Whether a file is one that an overlay shows. No, where it cannot be seen."""
    told = ctypes.create_string_buffer(_SIZE)
    if ctypes.CDLL(None).statfs(os.fsencode(path), told):
        return False
    return ctypes.c_long.from_buffer(told).value & 0xFFFFFFFF == _OVERLAY
