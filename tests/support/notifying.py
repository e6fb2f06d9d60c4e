"""A notifier that leaves what it was told in a file; and one that breaks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import BaseNotifier


class ToFile(BaseNotifier):
    """Adds its message as a line."""

    template_fields: Sequence[str] = ("message",)

    def __init__(self, path: str, message: str) -> None:
        super().__init__()
        self.path = path
        self.message = message

    def notify(self, context: Any) -> None:
        with Path(self.path).open("a", encoding="utf-8") as file:
            file.write(self.message + "\n")


class Broken(BaseNotifier):
    """Its service is away."""

    def notify(self, context: Any) -> None:
        raise ConnectionError("the pager does not answer")
