"""The timelines of a shard, as the store has recorded them: what was decided, and not what the logs look like.

A restore to an earlier point, and one that leaves transactions out, begins a new timeline: what it does not bring back
was given up, though the logs that hold it stay in the store. So does whoever says that a server made by other means is
the shard from now on. The record is the outcome of the epoch in which the server was opened: the transactions that it
began with, and one empty transaction that it committed before anybody was let in. Replicas, copies and logs of the new
timeline have that one in their history, and nothing else has: it tells them apart whatever servers they come from.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from relight.backups.manifest import GtidField, Value
from relight.certificate.document import SignedCertificate
from relight.fencing.epochs import Epoch, Outcome, load_epochs
from relight.gtid import Gtid, GtidSet
from relight.store.base import Store

ORIGIN = 0
"""The number of the timeline before the first epoch."""


class Timeline(Value):
    """A history that began when a server was opened in an epoch."""

    number: int
    """Of the epoch."""
    parent: int
    server_uuid: str
    """Of the server that was opened."""
    birth: str
    """The GTID of its first transaction."""
    began_with: GtidField | None
    """None: not recorded, as by versions before timelines."""
    began_at: datetime
    run_id: str
    why: str

    def has(self, history: GtidSet) -> bool:
        """Whether somebody with that history has followed this timeline."""
        return Gtid.parse(self.birth) in history

    def agrees_with(self, executed: GtidSet) -> bool:
        """Whether a server with these transactions can be of this timeline: it has its birth, or is still behind it."""
        return self.has(executed) or self.began_with is None or executed <= self.began_with


def birth_of(server_uuid: str) -> str:
    """The GTID of the first transaction of a server that begins a timeline."""
    return f"{server_uuid}:1"


def load_timelines(store: Store, shard: str) -> tuple[Timeline, ...]:
    """The timelines that were begun, oldest first."""
    return _begun(store, load_epochs(store, shard))


def present_timeline(store: Store, shard: str) -> Timeline | None:
    """The one that was begun last; None where the shard was never restored."""
    last = load_epochs(store, shard, last=1)
    found = _begun(store, last)
    if last and not found:  # the last epoch is claimed and not decided, or was given up
        found = load_timelines(store, shard)
    return found[-1] if found else None


def _begun(store: Store, epochs: Iterable[Epoch]) -> tuple[Timeline, ...]:
    found: list[Timeline] = []
    for epoch in epochs:
        if epoch.outcome is not None and epoch.outcome.kind == "opened":
            found.append(_timeline(store, epoch, epoch.outcome, found[-1].number if found else ORIGIN))
    return tuple(found)


def _timeline(store: Store, epoch: Epoch, outcome: Outcome, before: int) -> Timeline:
    parent = outcome.parent if outcome.parent is not None else before
    return Timeline(
        number=outcome.epoch, parent=parent, server_uuid=outcome.server_uuid,
        birth=outcome.birth or birth_of(outcome.server_uuid),
        began_with=outcome.gtids if outcome.gtids is not None else _certified(store, outcome), began_at=outcome.at,
        run_id=outcome.run_id, why=epoch.claim.why,
    )  # fmt: skip


def _certified(store: Store, outcome: Outcome) -> GtidSet | None:
    """What an older version opened the server with, from the certificate that it had to have."""
    keys = [one.key for one in store.list(f"{outcome.shard}/runs/{outcome.run_id}/certificates/")]
    return SignedCertificate.model_validate_json(store.get(keys[-1])).certificate.gtids if keys else None
