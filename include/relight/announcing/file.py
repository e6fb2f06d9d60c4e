"""Announcing in a file: one JSON document, which readers see whole, old or new."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from relight.announcing.base import Endpoint, Published, published_in, refuse_to_overwrite
from relight.announcing.settings import FileAnnounce
from relight.durable import write_whole
from relight.errors import AnnounceFailed, ObjectCorrupt
from relight.reading import read_document, read_file


@dataclass(frozen=True)
class FileAnnouncer:
    """Keeps the file up to date. Withdrawn, it says the same with ``"open": false``."""

    settings: FileAnnounce

    @property
    def name(self) -> str:
        """The file."""
        return f"file {self.settings.path}"

    def announce(self, endpoint: Endpoint) -> None:
        """Write that the shard is open there."""
        self._publish(endpoint, is_open=True)

    def withdraw(self, endpoint: Endpoint) -> None:
        """Write that the shard is closed."""
        self._publish(endpoint, is_open=False)

    def _publish(self, endpoint: Endpoint, *, is_open: bool) -> None:
        path = self.settings.path
        text = json.dumps(endpoint.document(is_open=is_open), indent=2) + "\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _alone(path):
                refuse_to_overwrite(self.name, self._published(), endpoint)
                write_whole(path, text)
        except OSError as error:
            raise AnnounceFailed(
                "the file cannot be written", on=self.name, why=error.strerror or str(error),
                hint="it is written by the worker on the promoted server's machine; look at folder and account",
            ) from None  # fmt: skip

    def _published(self) -> Published | None:
        try:
            content = read_file(self.settings.path, "an announcement")
            document = read_document(content, on=str(self.settings.path), what="an announcement")
        except FileNotFoundError:
            return None
        except ObjectCorrupt:  # neither JSON nor text
            document = None
        published = published_in(document) if isinstance(document, dict) else None
        if published is None:
            raise AnnounceFailed(
                "a file that is no announcement is not overwritten", on=self.name,
                hint="move it away, or name another path in the fleet file",
            )  # fmt: skip
        return published


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Nobody else compares and writes meanwhile. The lock's file stays: removing it would let two in."""
    with path.with_name(f".{path.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
