"""Clearances: who issues one, what it is bound to, and when it holds.

It names the machine, the directory (device and inode), whose data these are (server UUID), what for, and the seconds
within which it counts. It is used once: the mark of its use is made on disk before anything is moved, so that a crash
cannot make it count twice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import time
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from relight.durable import write_out
from relight.errors import GuardRefused
from relight.server.identity import server_uuid

CLEARANCE_SECONDS = 30
KEPT_SECONDS = 90 * 24 * 3600
"""For so long it can be looked up who was allowed to do what."""

Purpose = Literal[
    "be rebuilt", "have its data directory replaced", "be replaced by a clone", "be initialised",
    "be removed after its rehearsal", "be set aside with its run", "have what was set aside removed",
]  # fmt: skip
"""What the machine is asked to let happen, as its refusal says it."""

Identity = tuple[int | None, int | None, str]
"""Device and inode of a directory, None where there is none, and whose data it holds."""

_MACHINE_ID = Path("/etc/machine-id")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclasses.dataclass(frozen=True)
class Clearance:
    """Permission to do one thing to one directory of this machine, within seconds, and once.

    It counts only together with its record on disk, so one that nobody has issued is worthless.
    """

    number: str
    directory: Path
    records: Path
    """The folder in which it is recorded."""
    purpose: Purpose
    machine: str
    device: int | None
    inode: int | None
    """Of the directory; None: there was none, and its name is free."""
    server_uuid: str
    """Who the directory said it was; empty where it said nothing."""
    issued_at: float
    expires_at: float
    """On the clock on the wall, in seconds since 1970."""
    expires_monotonic: float
    """On the clock that nobody can set."""

    @property
    def identity(self) -> Identity:
        """What the directory was."""
        return self.device, self.inode, self.server_uuid

    @property
    def covers_something(self) -> bool:
        """Whether there was a directory."""
        return self.inode is not None


def issue(directory: Path, workdir: Path, purpose: Purpose, before: Identity) -> Clearance:
    """Bound to what the directory was before it was looked at, so that what was looked at is what is cleared."""
    now = time.time()
    clearance = Clearance(
        secrets.token_hex(8), directory, workdir / "clearances", purpose, machine_id(), *before,
        issued_at=now, expires_at=now + CLEARANCE_SECONDS, expires_monotonic=time.monotonic() + CLEARANCE_SECONDS,
    )  # fmt: skip
    clearance.records.mkdir(parents=True, exist_ok=True)
    _drop_old(clearance.records, before=now - KEPT_SECONDS)
    _record(clearance.records / f"{clearance.number}.json", _text(clearance))
    return clearance


def use(clearance: Clearance, purposes: Collection[Purpose], plan: str) -> None:
    """Consume it, before anything is moved; ``plan`` is written down for whoever looks after a crash.

    :raises GuardRefused: it does not hold, or was given for none of the ``purposes``.
    """
    why = _flaw(clearance) if clearance.purpose in purposes else f"it was given to {clearance.purpose}"
    if not why:
        try:
            # Only one caller can make this file, and after a crash it is still there.
            _record(clearance.records / f"{clearance.number}.used", f"{plan}\n")
        except FileExistsError:
            why = "it was used before"
    if why:
        raise GuardRefused(
            "the clearance is no longer valid", on=str(clearance.directory), why=why,
            hint="nothing was touched. Run the step again: it asks the guard anew",
        )  # fmt: skip


def _flaw(clearance: Clearance) -> str:
    """Why it does not hold; empty when it does."""
    try:
        recorded = (clearance.records / f"{clearance.number}.json").read_text(encoding="utf-8")
    except OSError:
        recorded = ""
    if recorded != _text(clearance):
        return "nobody has issued it"
    if clearance.machine != machine_id():
        return "it is for another machine"
    if time.monotonic() > clearance.expires_monotonic or not clearance.issued_at <= time.time() <= clearance.expires_at:
        return "it has expired"
    if identity_of(clearance.directory) != clearance.identity:
        return "another directory is there, or none"
    return ""


def identity_of(directory: Path) -> Identity:
    """What lies under that name now."""
    try:
        info = directory.lstat()
    except FileNotFoundError:
        return None, None, ""
    try:
        return info.st_dev, info.st_ino, server_uuid(directory)
    except (OSError, ValueError):
        return info.st_dev, info.st_ino, ""  # the guard has a finding about that


def machine_id() -> str:
    """Which machine this is; where it has no such id, as in some containers, which of its boots."""
    try:
        found = _MACHINE_ID.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        found = ""
    return found or f"boot {_BOOT_ID.read_text(encoding='ascii').strip()}"


def _drop_old(records: Path, *, before: float) -> None:
    """Forget clearances that expired long ago. First that they were issued: what nobody has issued is worthless."""
    for issued in records.glob("*.json"):
        with contextlib.suppress(FileNotFoundError):  # somebody else drops them too
            if issued.stat().st_mtime < before:
                issued.unlink()
                issued.with_suffix(".used").unlink(missing_ok=True)


def _text(clearance: Clearance) -> str:
    return json.dumps(dataclasses.asdict(clearance), default=str, sort_keys=True) + "\n"


def _record(path: Path, text: str) -> None:
    """Write a new file that survives a crash, name included. :raises FileExistsError: there is one."""
    with path.open("x", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    write_out(path.parent)
