"""The epochs of a shard, in the store: who claimed it, and what became of that.

A claim is an object ``<shard>/fence/<epoch>.claim.json``, its outcome ``<epoch>.outcome.json``. Both are written once,
by conditional put, and that is the whole protocol:

* The next epoch can be claimed only when the last one has an outcome, so there is at most one open claim.
* Who wants to open a server must write the outcome ``opened`` of its own claim first. Whoever wants to take the shard
  away from a run that does not go on writes the outcome ``given up`` of that claim. One of the two succeeds.

So of any number of runs, killed and cut off from the store at any moment, at most one opens a server per epoch, and the
store says which.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime

from relight.backups.manifest import GtidField, Value
from relight.errors import ClaimRefused, ObjectCorrupt, ObjectExists, ObjectMissing, command_line
from relight.gtid import GtidSet
from relight.host import Host, Port
from relight.reading import read_json
from relight.store.base import Store

_CLAIM = re.compile(r"/fence/(\d{6})\.claim\.json$")


class Claim(Value):
    """One run's claim to be the only one that opens a server of the shard."""

    version: Literal[1] = 1
    shard: str
    epoch: int
    run_id: str
    server: str
    host: Host
    port: Port
    machine: str
    """Where it was claimed."""
    who: str
    why: str
    at: AwareDatetime


class Outcome(Value):
    """What became of a claim. Whoever writes it first decides it."""

    version: Literal[1] = 1
    shard: str
    epoch: int
    kind: Literal["opened", "given up"]
    run_id: str
    """The run whose claim it was."""
    server_uuid: str = ""
    """Of the server that was opened."""
    gtids: GtidField | None = None
    """The transactions that it was opened with. None: given up, or opened by a version that did not say."""
    birth: str = ""
    """The GTID of the empty transaction that it committed before it was opened; in the history of no other server
    but those that have followed it since. Empty: its first one."""
    parent: int | None = None
    """The epoch in whose timeline these transactions lie; 0 is the one before the first epoch. None: not said."""
    who: str
    why: str
    at: AwareDatetime


class Epoch(Value):
    """A claim, with its outcome where it has one."""

    claim: Claim
    outcome: Outcome | None = None

    @property
    def is_open(self) -> bool:
        """Whether a server may still be opened under it."""
        return self.outcome is None


def load_epochs(store: Store, shard: str, *, last: int = 0) -> list[Epoch]:
    """All epochs of a shard, oldest first; only the ``last`` so many, if any.

    :raises ObjectCorrupt: a claim or an outcome cannot be read. Who has the shard is not known then: not nobody.
    """
    keys = [entry.key for entry in store.list(_folder(shard)) if _CLAIM.search(entry.key)]
    return [_load(store, key) for key in keys[-last if last else 0 :]]


def known_epochs(store: Store, shard: str) -> tuple[list[Epoch], list[ObjectCorrupt]]:
    """All that can be read, oldest first, and what is wrong with the others: to be shown, not to decide on."""
    found, wrong = list[Epoch](), list[ObjectCorrupt]()
    for entry in store.list(_folder(shard)):
        if _CLAIM.search(entry.key):
            try:
                found.append(_load(store, entry.key))
            except ObjectCorrupt as error:
                wrong.append(error)
    return found, wrong


def newest(store: Store, shard: str) -> Epoch | None:
    """The last epoch of a shard."""
    return next(iter(load_epochs(store, shard, last=1)), None)


def claim(store: Store, wanted: Claim) -> Claim:
    """Claim the shard for a run, in the next epoch whatever ``wanted`` says. A run that has an open claim, or has
    opened a server under the newest, keeps it.

    :raises ClaimRefused: another run's claim is open, or another one was faster.
    """
    last = newest(store, wanted.shard)
    if last is not None:
        mine = last.claim.run_id == wanted.run_id
        if mine and (last.outcome is None or last.outcome.kind == "opened"):
            return last.claim
        if last.is_open:
            raise _taken(last.claim)
    made = wanted.model_copy(update={"epoch": last.claim.epoch + 1 if last else 1})
    try:
        store.put(_claim_key(made), made.model_dump_json(indent=1).encode("utf-8"))
    except ObjectExists:
        there = _claim(store, _claim_key(made))
        if there.run_id != made.run_id:
            raise _taken(there) from None
        return there  # an earlier attempt of this run, whose answer was lost
    return made


def win(
    store: Store, mine: Claim, *, server_uuid: str, who: str, why: str, gtids: GtidSet | None = None, birth: str = "",
    parent: int | None = None,
) -> Outcome:  # fmt: skip
    """Decide that the server of this claim is opened. From here on no other run can open one in this epoch.

    :param gtids: what it is opened with: the beginning of a new timeline, which branches off from ``parent``.

    :raises ClaimRefused: the claim was given up by somebody, or there is a newer one.
    """
    last = newest(store, mine.shard)
    if last is None or last.claim.epoch != mine.epoch or last.claim.run_id != mine.run_id:
        raise _overtaken(mine, last)
    wanted = Outcome(
        shard=mine.shard, epoch=mine.epoch, kind="opened", run_id=mine.run_id, server_uuid=server_uuid, who=who,
        why=why, at=datetime.now(UTC), gtids=gtids, birth=birth, parent=parent,
    )  # fmt: skip
    decided = _decide(store, wanted)
    if (decided.kind, decided.server_uuid) != ("opened", server_uuid):
        raise ClaimRefused(
            "this run may not open the server", on=mine.shard, why=f"its claim was {decided.kind} by {decided.who}: "
            f"{decided.why}", hint="the server stays closed; who has the shard now is said by: "
            f"{command_line('fence', 'show', mine.shard)}",
        )  # fmt: skip
    return decided


def give_up(store: Store, shard: str, epoch: int, *, who: str, why: str) -> Outcome:
    """Decide that nothing is opened under a claim. :raises ClaimRefused: there is no such claim, or it was opened."""
    try:
        claimed = _claim(store, f"{_folder(shard)}{epoch:06d}.claim.json")
    except ObjectMissing:
        raise ClaimRefused("there is no such claim", on=f"{shard}, epoch {epoch}") from None
    decided = _decide(store, Outcome(
        shard=shard, epoch=epoch, kind="given up", run_id=claimed.run_id, who=who, why=why, at=datetime.now(UTC)
    ))  # fmt: skip
    if decided.kind != "given up":
        raise ClaimRefused(
            "the claim cannot be given up", on=f"{shard}, epoch {epoch}",
            why=f"{claimed.server} was opened under it at {decided.at:%Y-%m-%d %H:%M:%S} UTC",
            hint="close that server first if it must not take writes; a new restore claims the next epoch",
        )  # fmt: skip
    return decided


def _decide(store: Store, wanted: Outcome) -> Outcome:
    """The outcome that counts: this one, or the one that was there before."""
    key = f"{_folder(wanted.shard)}{wanted.epoch:06d}.outcome.json"
    try:
        store.put(key, wanted.model_dump_json(indent=1).encode("utf-8"))
    except ObjectExists:
        return _outcome(store, key)
    return wanted


def _load(store: Store, key: str) -> Epoch:
    claimed = _claim(store, key)
    try:
        outcome = _outcome(store, key.replace(".claim.json", ".outcome.json"))
    except ObjectMissing:
        return Epoch(claim=claimed)
    return Epoch(claim=claimed, outcome=outcome)


def _claim(store: Store, key: str) -> Claim:
    found = read_json(Claim, store.get(key), on=key, what="a claim")
    if _claim_key(found) != key:
        raise ObjectCorrupt("a claim cannot be believed", on=key, why=f"it is for {found.shard}, epoch {found.epoch}")
    return found


def _outcome(store: Store, key: str) -> Outcome:
    found = read_json(Outcome, store.get(key), on=key, what="an outcome")
    if f"{_folder(found.shard)}{found.epoch:06d}.outcome.json" != key:
        raise ObjectCorrupt("an outcome cannot be believed", on=key, why=f"it is for {found.shard}, {found.epoch}")
    return found


def _folder(shard: str) -> str:
    return f"{shard}/fence/"


def _claim_key(one: Claim) -> str:
    return f"{_folder(one.shard)}{one.epoch:06d}.claim.json"


def _taken(other: Claim) -> ClaimRefused:
    return ClaimRefused(
        "another run has claimed the shard", on=f"{other.shard}, epoch {other.epoch}",
        why=f"{other.who} for run {other.run_id} on {other.machine} at {other.at:%Y-%m-%d %H:%M:%S} UTC: {other.why}",
        hint=f"let that run end; if it never will, cancel it, and then: "
        f"{command_line('abandon', other.run_id, '--shard', other.shard)}",
    )  # fmt: skip


def _overtaken(mine: Claim, last: Epoch | None) -> ClaimRefused:
    now = f"run {last.claim.run_id} in epoch {last.claim.epoch}" if last else "nobody"
    return ClaimRefused(
        "this run has lost its claim on the shard", on=f"{mine.shard}, epoch {mine.epoch}",
        why=f"it is claimed by {now}", hint="the server stays closed",
    )  # fmt: skip
