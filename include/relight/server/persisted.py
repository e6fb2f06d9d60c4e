"""What ``SET PERSIST`` has left in a data directory about who is let in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SETTINGS = ("read_only", "super_read_only", "offline_mode")


def persisted(directory: Path) -> dict[str, str]:
    """Whether its server comes up read-only or offline, as far as ``SET PERSIST`` has said so."""
    try:
        document = json.loads((directory / "mysqld-auto.cnf").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # nothing was persisted; a broken file keeps mysqld from starting at all
    return dict(_settings(document))


def _settings(document: Any) -> Iterator[tuple[str, str]]:
    """Where they stand in the document has changed from version to version."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name in _SETTINGS and isinstance(value, dict) and "Value" in value:
                yield name, str(value["Value"])
            else:
                yield from _settings(value)
