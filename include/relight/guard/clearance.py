"""Moves and removes data directories, and is the only part of Relight that does. Nothing here can be called without
a :class:`~relight.guard.issuing.Clearance`.

Time between check and act is closed: a directory is renamed first, which nobody can undo or overtake, then looked at
again under its new name, and renamed back if anything shows life.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from relight.errors import GuardRefused, ServerError
from relight.fleet import Server
from relight.gtid import GtidSet
from relight.guard.directory import contents_of
from relight.guard.issuing import Clearance, Purpose, identity_of, issue, use
from relight.guard.looking import in_use, look, refuse, refuse_if_alive, refuse_if_too_small
from relight.guard.renaming import move
from relight.server.rebuilt import built_by

ASIDE = re.compile(r"^((?P<name>.+)\.set-aside\.(?P<time>\d{8}T\d{12}Z))(\.going-[0-9a-f]{16})?$")
"""Names of directories that were set aside; those of which the removal began have something behind it."""
TIME = "%Y%m%dT%H%M%S%fZ"

_REPLACES: tuple[Purpose, ...] = (
    "be rebuilt", "have its data directory replaced", "be replaced by a clone", "be initialised",
)  # fmt: skip
_REMOVES_OWN: Purpose = "be removed after its rehearsal"
_PUTS_OWN_ASIDE: Purpose = "be set aside with its run"
_REMOVES_ASIDE: Purpose = "have what was set aside removed"


def clear(
    server: Server, purpose: Purpose, *, need_bytes: int = 0, archived: GtidSet | None = None
) -> Clearance:  # fmt: skip
    """A clearance for the server's data directory, or for its name where there is no such directory.

    :param archived: what is backed up; other transactions in the directory's logs refuse. None: they are not read.
    :raises GuardRefused: there are signs of life, or less than ``need_bytes`` of free space.
    """
    before = identity_of(server.datadir)
    refuse_if_alive(server, purpose, archived=archived)
    refuse_if_too_small(server, need_bytes)
    return issue(server.datadir, server.workdir, purpose, before)


def clear_removal(server: Server, aside: Path, *, archived: GtidSet | None = None) -> Clearance:
    """A clearance to remove a directory that was set aside. ``archived`` as for :func:`clear`.

    :raises GuardRefused: there are signs of life, or it is not named as what was set aside of this server.
    """
    name = ASIDE.match(aside.name)
    if name is None or aside.parent != server.datadir.parent or name["name"] != server.datadir.name:
        raise GuardRefused("not a directory that was set aside", on=str(aside), why=f"not by {server.name}")
    before = identity_of(aside)
    refuse(str(aside), aside, look(aside, archived=archived), _REMOVES_ASIDE)
    return issue(aside, server.workdir, _REMOVES_ASIDE, before)


def set_aside(clearance: Clearance) -> Path:
    """Rename the cleared directory; nothing is deleted. Gives its new name.

    :raises GuardRefused: the clearance does not hold, or something showed life meanwhile. All is as it was.
    """
    return _set_aside(clearance, _REPLACES)


def put_in_place(clearance: Clearance, incoming: Path) -> str:
    """Set the cleared directory aside, if there is one, and give its name to ``incoming``.

    Gives where the old one lies, empty text where there was none.

    :raises GuardRefused: as for :func:`set_aside`. ServerError: the new one cannot be given that name. All is as
        it was.
    """
    aside = set_aside(clearance) if clearance.covers_something else None
    if aside is None:
        use(clearance, _REPLACES, f"get {incoming}")
        clearance.directory.parent.mkdir(parents=True, exist_ok=True)
    try:
        move(incoming, clearance.directory)
    except OSError as error:
        if aside is not None:
            _put_back(clearance, aside)
        raise ServerError(
            "the new data directory cannot be put in place", on=str(clearance.directory), why=str(error),
            hint="workdir and datadir must lie on the same file system",
        ) from None  # fmt: skip
    return str(aside or "")


def set_aside_own(clearance: Clearance, run_id: str) -> Path:
    """Rename a directory that this very run has built. Gives its new name.

    :raises GuardRefused: as for :func:`set_aside`; or another run, or nobody of Relight, has built it.
    """
    return _set_aside(clearance, (_PUTS_OWN_ASIDE,), built_by_run=run_id)


def remove_own(clearance: Clearance, run_id: str) -> int:
    """Remove the data directory that this very run has built, on a scratch server. Gives the bytes removed.

    :raises GuardRefused: as for :func:`set_aside`; or another run, or nobody of Relight, has built it.
    """
    aside = _set_aside(clearance, (_REMOVES_OWN,), built_by_run=run_id)
    removed = _size(aside)
    shutil.rmtree(aside)
    return removed


def remove_set_aside(clearance: Clearance) -> int:
    """Remove a directory that was set aside, for ever. Gives the bytes removed.

    :raises GuardRefused: the clearance is for something else, does not hold, or something showed life meanwhile.
    """
    name = ASIDE.match(clearance.directory.name)
    if name is None:
        raise GuardRefused("only what was set aside can be removed", on=str(clearance.directory))
    going = clearance.directory.with_name(f"{name[1]}.going-{clearance.number}")
    use(clearance, (_REMOVES_ASIDE,), f"remove as {going}")
    _move_and_look_again(clearance, going)
    removed = _size(going)
    shutil.rmtree(going)
    return removed


def _set_aside(clearance: Clearance, purposes: Collection[Purpose], *, built_by_run: str | None = None) -> Path:
    if not clearance.covers_something:
        raise GuardRefused("there is nothing to set aside", on=str(clearance.directory))
    stamp = datetime.now(UTC).strftime(TIME)
    aside = clearance.directory.with_name(f"{clearance.directory.name}.set-aside.{stamp}")
    use(clearance, purposes, f"set aside as {aside}")
    _move_and_look_again(clearance, aside, built_by_run=built_by_run)
    return aside


def _move_and_look_again(clearance: Clearance, there: Path, *, built_by_run: str | None = None) -> None:
    try:
        move(clearance.directory, there)
    except OSError as error:
        raise GuardRefused(
            f"it is not possible to {clearance.purpose}", on=str(clearance.directory), why=str(error),
            hint="nothing was touched; the directory must be one that can be renamed",
        ) from None  # fmt: skip
    try:
        why = _second_thoughts(clearance, there, built_by_run)
        if why:
            raise GuardRefused(
                f"the machine refuses to {clearance.purpose}", on=str(clearance.directory), why=why,
                hint="the directory was put back: nothing was changed",
            )  # fmt: skip
    except BaseException:
        _put_back(clearance, there)
        raise


def _second_thoughts(clearance: Clearance, there: Path, built_by_run: str | None) -> str:
    """What speaks against it, now that nobody finds the directory by its name; empty when nothing does."""
    seen = [finding.what for finding in in_use(contents_of(there), to_be_renamed=True, formerly=clearance.directory)]
    if identity_of(there) != clearance.identity:
        seen.append("another directory had taken its place, or other data are in it")
    if built_by_run is not None and not built_by(there, built_by_run):
        seen.append(f"it was not built by run {built_by_run}")
    return "; ".join(seen)


def _put_back(clearance: Clearance, there: Path) -> None:
    try:
        move(there, clearance.directory)
    except OSError as error:
        raise GuardRefused(
            f"the machine refuses to {clearance.purpose}, and cannot undo what was begun", on=str(clearance.directory),
            why=str(error), hint=f"the directory lies whole at {there}; find out what has taken its place",
        ) from None  # fmt: skip


def _size(directory: Path) -> int:
    return sum(path.lstat().st_size for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
