"""A promoted server that finds out that it is not the shard's source any more closes itself.

Not a step of a restore: it runs on its own, every few minutes, on the machine of the shard's source.
"""

from __future__ import annotations

from typing import Literal

from relight.announcing.base import endpoint_of
from relight.announcing.publish import withdraw_all
from relight.announcing.registry import announcers_of
from relight.backups.manifest import Value
from relight.errors import AnnounceFailed, ServerUnreachable
from relight.fencing.asking import close_to_writes
from relight.fencing.epochs import Epoch, load_epochs
from relight.server.rebuilt import read_mark
from relight.server.session import Session, connect
from relight.site import Site


class FenceCheck(Value):
    """What was found, and done."""

    shard: str
    server: str
    epoch: int | None
    """In which the server was opened; None where Relight did not open it."""
    newest: int | None
    """The newest epoch of the shard that was not given up."""
    state: Literal["current", "closed", "not running", "not promoted here"]


def check_fence(site: Site, shard: str) -> FenceCheck:
    """Compare the epoch in which the shard's source was opened with the store's. Closes it if there is a newer one.

    Where the store does not answer nothing is closed: a shard must not stop because its backups are away for a while.

    :raises StoreUnavailable: (retryable) the store does not answer.
    """
    server = site.fleet.shard(shard).source
    mark = read_mark(server.datadir)
    newest = _newest(load_epochs(site.store, shard))
    number = newest.claim.epoch if newest else None
    if mark is None or mark.state != "promoted" or mark.epoch is None:
        return FenceCheck(shard=shard, server=server.name, epoch=None, newest=number, state="not promoted here")
    if number is None or number <= mark.epoch or (newest and newest.claim.run_id == mark.run_id):
        return FenceCheck(shard=shard, server=server.name, epoch=mark.epoch, newest=number, state="current")
    try:
        with connect(server, site.admin) as session:
            _withdraw(site, shard, session, mark.epoch)
            close_to_writes(session)
    except ServerUnreachable:
        return FenceCheck(shard=shard, server=server.name, epoch=mark.epoch, newest=number, state="not running")
    site.progress.say(f"{server.name} was opened in epoch {mark.epoch}, and the shard is in {number}: closed")
    return FenceCheck(shard=shard, server=server.name, epoch=mark.epoch, newest=number, state="closed")


def _withdraw(site: Site, shard: str, session: Session, epoch: int) -> None:
    """Before it is closed, so that applications are sent nowhere rather than refused. That it fails, or that a newer
    server is announced already, keeps nobody from closing this one."""
    announcers = announcers_of(site.fleet.shard(shard).announce, site.credentials, site.announcers)
    try:
        withdraw_all(announcers, endpoint_of(session, shard, epoch))
    except AnnounceFailed as failure:
        site.progress.say(str(failure))


def _newest(epochs: list[Epoch]) -> Epoch | None:
    counted = [one for one in epochs if one.outcome is None or one.outcome.kind == "opened"]
    return counted[-1] if counted else None
