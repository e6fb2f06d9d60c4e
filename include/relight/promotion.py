"""A promotion: from a proved server to open doors. This is the order, and the order is the safety.

Step ``prepare``:

1. The certificate: a server that was not proved is not worth a claim.
2. The others are asked before anything is claimed, so that a restore that was started by mistake, while the source
   lives, takes nothing away from it.
3. The claim: from here on no other run can promote this shard, until this one is through or given up.
4. History and durable settings, by a clean restart that is still closed. Killed in it, it is done again; also where
   the server has forgotten it since.
5. Where the fleet file wants replicas first: their account is let in. Nobody else is.

Then so many replicas are rebuilt from the closed server, each by a step of its own. Step ``promote``:

6. The claim is still this run's, and is the one that it has prepared under. One that somebody has given up meanwhile
   is not made anew here: ``prepare``, run again, does that.
7. The server's history is whole. The wanted replicas were found equal in this run, and follow. They are asked now:
   they may have died since.
8. The others are asked once more: all that took a while. A former source that is alive and closed is made to stay so.
9. The epoch is won, in one conditional put. It is the only thing that allows the next step. Right before that it is
   looked up once more whether the shard has moved on: this process may have slept for long behind its win.
10. The doors; then the replicas' account is as it was. The rest of the replicas is rebuilt behind that.

Each is a state that survives a crash: the mark in the data directory says how far the server is, the epoch in the
store who may open it. Both steps look first what was done, so running them again finishes a half-done promotion, and
nothing is ever open to writes before its epoch was won. Here is what both ask before they act.
"""

from __future__ import annotations

import getpass
from collections.abc import Iterable
from pathlib import Path

from relight.errors import ClaimRefused, ObjectCorrupt, PromotionRefused, command_line
from relight.fencing.asking import Answer, ask, keep_closed
from relight.fencing.epochs import load_epochs, newest
from relight.fencing.timelines import birth_of
from relight.fleet import Server
from relight.gtid import GtidSet
from relight.server.rebuilt import Mark, read_mark
from relight.server.session import Session
from relight.site import Run, Site

_NO_SOCKET = Path("/nonexistent/mysqld.sock")
"""Of a server that is known by its address alone: the socket of the fleet file's source leads to that one."""


def mark_of(run: Run, server: Server) -> Mark:
    """How far the run's server is. :raises PromotionRefused: a rehearsal, or the server is not this run's."""
    try:
        mark = read_mark(server.datadir)
    except ObjectCorrupt as error:
        raise PromotionRefused(
            "promotion refused", on=run.shard, why=f"it is not known whether run {run.run_id} has built it: {error}",
            hint="the server stays closed; run the restore step again: it sets the directory aside and builds it anew",
        ) from None  # fmt: skip
    if run.mode == "rehearse":
        why = "this is a rehearsal"
    elif mark is None or mark.run_id != run.run_id:
        why = f"{server.datadir} was not built by run {run.run_id}"
    else:
        return mark
    raise PromotionRefused("promotion refused", on=run.shard, why=why, hint="the server stays closed")


def who(run: Run) -> str:
    """In whose name it is done."""
    return run.requested_by or getpass.getuser()


def history_lacks(session: Session, history: GtidSet) -> GtidSet:
    """What the server's ``gtid_executed`` should hold once it is prepared with this history, and does not."""
    executed = GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))
    birth = GtidSet.parse(birth_of(str(session.value("SELECT @@server_uuid"))))
    return (history | birth) - executed


def refuse_if_overtaken(site: Site, run: Run, mark: Mark) -> None:
    """A server that was open once, and lost the shard since, does not take it back because its task is cleared."""
    last = newest(site.store, run.shard)
    opened = mark.state == "promoted" and mark.epoch is not None
    if opened and last is not None and last.claim.epoch != mark.epoch:
        raise ClaimRefused(
            "the shard has moved on", on=run.shard, why=f"this server was opened in epoch {mark.epoch}, and run "
            f"{last.claim.run_id} has claimed {last.claim.epoch}",
            hint=f"who has it now is said by: {command_line('fence', 'show', run.shard)}",
        )  # fmt: skip


def refuse_second_writer(site: Site, run: Run, uuid: str) -> list[Answer]:
    """Ask the old source and the replicas. Changes nothing: who has no claim yet leaves the servers of others alone,
    one of which another run may be preparing at this moment.

    :raises PromotionRefused: one of them takes writes, or receives from somebody who may.
    """
    former = dict(_former_sources(site, run))
    known = {server.name: meant for server, meant in former.items() if meant}
    answers = ask([*former, *run.shard_of(site.fleet).replicas], site.admin, rebuilt_uuid=uuid, known=known)
    if problems := [answer.problem for answer in answers if answer.problem]:
        raise PromotionRefused(
            "the shard has a source already", on=run.shard, why="; ".join(problems),
            hint="the server stays closed. If the other one is not to be the source, close it first, then clear this "
            "task",
        )  # fmt: skip
    return answers


def keep_former_sources_closed(site: Site, run: Run, answers: Iterable[Answer]) -> None:
    """A former source that is alive and closed is made to stay so. Only for the run that has the shard's claim.

    :raises RelightError: one of them does not.
    """
    closed = {answer.server: answer.uuid for answer in answers if answer.closed}
    for server, _ in _former_sources(site, run):
        if server.name in closed:
            keep_closed(server, site.admin, closed[server.name])
            site.progress.say(f"{server.name} is alive and closed, and was made to stay so")


def _former_sources(site: Site, run: Run) -> Iterable[tuple[Server, str]]:
    """The source of the fleet file, and whatever the last epochs were opened on, each with its UUID where that is
    known: addresses are given to other servers in time."""
    source = run.shard_of(site.fleet).source
    yield source, ""
    known = {(source.host, source.port)}
    for epoch in load_epochs(site.store, run.shard, last=3):
        place = (epoch.claim.host, epoch.claim.port)
        if place not in known:
            known.add(place)
            there = source.model_copy(update={
                "name": f"{epoch.claim.server}, opened in epoch {epoch.claim.epoch}", "host": epoch.claim.host,
                "port": epoch.claim.port, "socket": _NO_SOCKET,
            })  # fmt: skip
            yield there, epoch.outcome.server_uuid if epoch.outcome else ""
