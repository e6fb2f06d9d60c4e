"""What to do next with a run, in words. Pure."""

from __future__ import annotations

from typing import Final

from relight.errors import command_line

WAITING: Final = (
    "Its tasks wait for their turn. If that lasts, look whether Airflow's scheduler is up and the DAG is unpaused."
)


def after_success(shard: str, mode: str) -> str:
    """The run is done."""
    if mode == "rehearse":
        return "Nothing: the shard's backups are proved, and the scratch server is free again."
    return f"The shard takes writes. Give it a full backup to start from: {command_line('backup', 'full', shard)}"


def after_failure(mode: str, *, stopped: bool, open_again: bool) -> str:
    """``stopped``: by somebody. ``open_again``: the shard took writes before it failed."""
    if open_again:
        return "The shard is open and takes writes. Remove the cause, then clear what failed: only that is done again."
    closed = "the server stays closed" if mode == "promote" else "the shard was not touched"
    if stopped:
        return f"Somebody has stopped it, and {closed}. Clear its tasks to go on from where it was, or start a new run."
    return (
        "Remove the cause, then clear the task that failed, with downstream: the run goes on from there, and nothing "
        f"is done twice. Until then {closed}."
    )
