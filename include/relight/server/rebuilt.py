"""The mark that Relight leaves in a data directory it has built: for which run, and how far it is."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from relight.backups.manifest import Value
from relight.run_files import write_whole

State = Literal["restored", "prepared", "promoted", "replica"]
"""``prepared``: it has the lost source's history and its durable settings, and is closed."""


class Mark(Value):
    """Lies in the data directory itself, so it moves and vanishes with it."""

    run_id: str
    state: State
    epoch: int | None = None
    """The epoch of the shard in which a promoted server was opened, or that was claimed for a prepared one."""


def mark_path(datadir: Path) -> Path:
    """Where the mark of a data directory lies."""
    return datadir / "relight.json"


def read_mark(datadir: Path) -> Mark | None:
    """The mark, or None where Relight did not build the directory."""
    path = mark_path(datadir)
    if not path.exists():
        return None
    return Mark.model_validate_json(path.read_text(encoding="utf-8"))


def write_mark(datadir: Path, run_id: str, state: State, epoch: int | None = None) -> None:
    """Set or replace the mark."""
    write_whole(mark_path(datadir), Mark(run_id=run_id, state=state, epoch=epoch).model_dump_json())


def built_by(datadir: Path, run_id: str) -> bool:
    """Whether this very run has built the directory."""
    mark = read_mark(datadir)
    return mark is not None and mark.run_id == run_id


def is_beyond_proof(datadir: Path, run_id: str) -> bool:
    """Whether the promotion of this run's server has begun: nothing of replay is left, and applications may write."""
    mark = read_mark(datadir)
    return mark is not None and mark.run_id == run_id and mark.state in ("prepared", "promoted")
