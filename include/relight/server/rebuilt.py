"""The mark that Relight leaves in a data directory it has built: for which run, and how far it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from relight.backups.manifest import Value
from relight.durable import write_whole
from relight.errors import ObjectCorrupt
from relight.reading import read_json_file

State = Literal["restored", "preparing", "prepared", "promoted", "replica"]
"""``preparing``: what replay needs may be gone already. ``prepared``: it has the lost source's history and its durable
settings, and is closed. ``promoted``: it may be open."""

NEVER_OPEN: tuple[State, ...] = ("restored", "preparing", "prepared")
"""In these no application has written to it: it holds nothing but what Relight has put there."""


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
    """The mark, or None where Relight did not build the directory.

    :raises ObjectCorrupt: there is one that cannot be read. It is nobody's then: neither this run's, which might open,
        judge or remove it, nor a stranger's, of which it would be said that Relight knows nothing.
    """
    try:
        return read_json_file(Mark, mark_path(datadir), "the mark of a data directory")
    except FileNotFoundError:
        return None


def write_mark(datadir: Path, run_id: str, state: State, epoch: int | None = None) -> None:
    """Set or replace the mark."""
    write_whole(mark_path(datadir), Mark(run_id=run_id, state=state, epoch=epoch).model_dump_json())


def built_by(datadir: Path, run_id: str) -> bool:
    """Whether this very run has built the directory. :raises ObjectCorrupt: its mark cannot be read."""
    mark = read_mark(datadir)
    return mark is not None and mark.run_id == run_id


def still_built_by(datadir: Path, run_id: str, say: Callable[[str], None]) -> bool:
    """The same, for who builds it anew if not: what has a mark that cannot be read counts as not built, which is said.
    The guard is asked about it as about any stranger's, and it is set aside, never removed."""
    try:
        return built_by(datadir, run_id)
    except ObjectCorrupt as error:
        say(f"it is not known who has built {datadir}: {error}; if it shows no sign of life, it is set aside")
        return False


def is_beyond_proof(datadir: Path, run_id: str) -> bool:
    """Whether the promotion of this run's server has begun: nothing of replay is left, and applications may write."""
    mark = read_mark(datadir)
    return mark is not None and mark.run_id == run_id and mark.state in ("preparing", "prepared", "promoted")
