"""What ``SET PERSIST`` has left in a data directory about who is let in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from relight.errors import ObjectCorrupt
from relight.reading import read_document, read_file

_SETTINGS = ("read_only", "super_read_only", "offline_mode")


def persisted(directory: Path) -> dict[str, str]:
    """Whether its server comes up read-only or offline, as far as ``SET PERSIST`` has said so."""
    try:
        path = directory / "mysqld-auto.cnf"
        document = read_document(read_file(path, "settings"), on=str(path), what="settings")
    except (OSError, ObjectCorrupt):
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
