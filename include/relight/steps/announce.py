"""Step: tell applications where the shard takes writes, once it does."""

from __future__ import annotations

from relight.announcing.base import endpoint_of
from relight.announcing.publish import announce_all
from relight.announcing.registry import announcers_of
from relight.backups.manifest import Value
from relight.errors import AnnounceFailed
from relight.fleet import Server
from relight.server.rebuilt import read_mark
from relight.server.session import Session, connect
from relight.site import Run, Site
from relight.steps.stepping import step

_CLOSING = ("offline_mode", "read_only", "super_read_only")


class Announced(Value):
    """What applications were told, and by whom."""

    server: str
    host: str
    port: int
    epoch: int
    announcers: tuple[str, ...]


@step("announce")
def announce(site: Site, run: Run) -> Announced:
    """Announce the promoted server by every announcer of the shard. Done again, it ends the same.

    It is announced with the epoch in which it was opened: what is announced with a higher one is not overwritten.

    :raises AnnounceFailed: the server is not this run's, or not open: nothing was announced. Or some announcers failed:
        the others have done their work. ServerUnreachable: nobody answers.
    """
    server = run.server(site.fleet)
    mark = read_mark(server.datadir)
    ours = mark is not None and (mark.run_id, mark.state) == (run.run_id, "promoted")
    if run.mode != "promote" or not ours or mark is None or mark.epoch is None:
        raise _refused(server, f"run {run.run_id} has not promoted {server.datadir}")
    with connect(server, site.admin) as session:
        _check_takes_writes(session)
        endpoint = endpoint_of(session, run.shard, mark.epoch)
    announcers = announcers_of(run.shard_of(site.fleet).announce, site.credentials, site.announcers)
    told = announce_all(announcers, endpoint)
    site.progress.say(f"announced {run.shard} at {server.host}:{server.port} by {', '.join(told) or 'nobody'}")
    return Announced(server=server.name, host=server.host, port=server.port, epoch=mark.epoch, announcers=told)


def _check_takes_writes(session: Session) -> None:
    closing = ", ".join(f"@@GLOBAL.{name}" for name in _CLOSING)
    values = dict(zip(_CLOSING, session.row(f"SELECT {closing}"), strict=True))
    if any(values.values()):
        raise _refused(session.server, ", ".join(f"{name} is {value}" for name, value in values.items()))


def _refused(server: Server, why: str) -> AnnounceFailed:
    return AnnounceFailed(
        "the server is not open, so it is not announced", on=server.name, why=why,
        hint="promote it first; nothing was announced",
    )  # fmt: skip
