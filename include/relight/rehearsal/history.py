"""What rehearsals have proved: read from the records that they leave in the store."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import AwareDatetime

from relight.backups.manifest import Value
from relight.errors import FleetError, ObjectCorrupt, ObjectMissing
from relight.fleet import Fleet
from relight.reading import read_json
from relight.run_files import Verdict
from relight.sabotage import SABOTAGES, Sabotage
from relight.store import layout
from relight.store.base import Store
from relight.store.parallel import in_parallel

_NEVER = datetime.min.replace(tzinfo=UTC)
_MOST_READ = 20
"""So many of a shard's last records are looked at."""


class RehearsalRecord(Value):
    """One rehearsal, in short. Times in seconds."""

    version: Literal[1] = 1
    shard: str
    run_id: str
    target: str
    began: AwareDatetime
    ended: AwareDatetime
    outcome: Literal["done", "failed"]
    problem: str = ""
    """Why it failed."""
    certificate: str = ""
    """Its key in the store; empty where nothing was proved."""
    verdict: Verdict | None = None
    reaches: AwareDatetime | None = None
    """The point in time that was restored."""
    data_loss_window_s: float | None = None
    tables: int = 0
    rows: int = 0
    data_bytes: int = 0
    log_bytes: int = 0
    restore_seconds: float = 0.0
    verification_seconds: float = 0.0
    sabotage: Sabotage | None = None
    """What was broken after the proof, and found; None where nothing was, or nothing found it."""
    caught_by: tuple[str, ...] = ()

    @property
    def proved(self) -> bool:
        """Whether the backups were shown to be right, whatever came after that."""
        return bool(self.certificate)


class ShardHistory(Value):
    """The rehearsals of a shard, newest first, as far back as was looked."""

    shard: str
    rehearsable: bool
    """Whether it has a scratch server."""
    rehearsals: tuple[RehearsalRecord, ...] = ()
    unreadable: tuple[str, ...] = ()
    """Keys of records that cannot be read, or are another shard's; they prove nothing."""

    @property
    def proof(self) -> RehearsalRecord | None:
        """The last that proved something."""
        return next((one for one in self.rehearsals if one.proved), None)

    @property
    def last(self) -> RehearsalRecord | None:
        """The last of all."""
        return self.rehearsals[0] if self.rehearsals else None


class Coverage(Value):
    """How much of a fleet is proved."""

    shards: int
    rehearsable: int
    proved: int
    """Within the days that were asked for."""
    within_days: float

    @property
    def share(self) -> float:
        """Of all shards, also of those that cannot be rehearsed."""
        return self.proved / self.shards if self.shards else 0.0


def keep(store: Store, record: RehearsalRecord) -> None:
    """Leave the record in the store. A rehearsal that goes on after a failure leaves another one, which counts."""
    store.put(layout.rehearsal(record.shard, record.ended, record.run_id), record.model_dump_json().encode("utf-8"))


def load_history(store: Store, fleet: Fleet, shards: Iterable[str] | None = None) -> list[ShardHistory]:
    """The history of these shards, or of all, in the order of the fleet file."""
    wanted = set(shards) if shards is not None else {shard.name for shard in fleet.shards}

    def load(name: str) -> ShardHistory:
        wrong: list[ObjectCorrupt] = []
        found = tuple(_last_of_each_run(_newest_first(store, name, wrong)))
        rehearsable = fleet.shard(name).scratch is not None
        return ShardHistory(
            shard=name, rehearsable=rehearsable, rehearsals=found, unreadable=tuple(error.on for error in wrong)
        )

    return in_parallel(load, [shard.name for shard in fleet.shards if shard.name in wanted], fleet.store.parallel)


def recent(store: Store, shard: str) -> list[RehearsalRecord]:
    """The last rehearsals of one shard, newest first, back to the last that proved something: mostly one is read.

    :raises ObjectCorrupt: one of them cannot be read, so it is not known what was proved last.
    """
    found: list[RehearsalRecord] = []
    wrong: list[ObjectCorrupt] = []
    for record in _last_of_each_run(_newest_first(store, shard, wrong)):
        found.append(record)
        if record.proved:
            break
    if wrong:
        raise wrong[0]
    return found


def _newest_first(store: Store, shard: str, wrong: list[ObjectCorrupt]) -> Iterator[RehearsalRecord]:
    """Records, read one by one. Those that cannot be read are noted: they prove nothing."""
    keys = [entry.key for entry in store.list(layout.rehearsals(shard))]
    for key in keys[: -_MOST_READ - 1 : -1]:
        try:
            record = read_json(RehearsalRecord, store.get(key), on=key, what="a rehearsal's record")
            if record.shard != shard:
                raise ObjectCorrupt("a rehearsal's record cannot be believed", on=key, why=f"it is for {record.shard}")
        except ObjectMissing:
            continue  # expired meanwhile
        except ObjectCorrupt as error:
            wrong.append(error)
        else:
            yield record


def _last_of_each_run(newest_first: Iterable[RehearsalRecord]) -> Iterator[RehearsalRecord]:
    seen: set[str] = set()
    for record in newest_first:
        if record.run_id not in seen:
            seen.add(record.run_id)
            yield record


def coverage(histories: Sequence[ShardHistory], now: datetime, within_days: float) -> Coverage:
    """Pure: how many shards were proved lately."""
    since = now - timedelta(days=within_days)
    return Coverage(
        shards=len(histories), rehearsable=sum(one.rehearsable for one in histories),
        proved=sum(one.proof is not None and one.proof.ended >= since for one in histories), within_days=within_days,
    )  # fmt: skip


def whose_turn(store: Store, fleet: Fleet, count: int = 1) -> list[str]:
    """The shards that are to be rehearsed next. :raises FleetError: none has a scratch server."""
    found = next_shards(load_history(store, fleet), count)
    if not found:
        raise FleetError("no scratch server", why="no shard has one", hint="give a shard a 'scratch' server")
    return found


def sabotages_for(store: Store, fleet: Fleet, shard: str) -> tuple[Sabotage, ...]:
    """What is broken next in rehearsals of a shard, the first choice first."""
    (history,) = load_history(store, fleet, [shard])
    return sabotages_in_turn(history)


def next_shards(histories: Iterable[ShardHistory], count: int) -> list[str]:
    """Pure: whose turn it is, oldest proof first. One whose last rehearsal failed waits until the others had their
    turn: it is an incident by itself, and must not keep the rest of the fleet from being rehearsed."""
    candidates = [one for one in histories if one.rehearsable]
    return [one.shard for one in sorted(candidates, key=lambda one: (_time_of(one.last), one.shard))[:count]]


def _time_of(record: RehearsalRecord | None) -> datetime:
    return record.ended if record else _NEVER


def sabotages_in_turn(history: ShardHistory) -> tuple[Sabotage, ...]:
    """Pure: all kinds, those that were longest not found on this shard first.

    Shards begin with different ones, so that a fleet tries all kinds soon.
    """
    found: Mapping[Sabotage, datetime] = {
        one.sabotage: one.ended for one in reversed(history.rehearsals) if one.sabotage is not None
    }
    first = zlib.crc32(history.shard.encode()) % len(SABOTAGES)
    rotated = (*SABOTAGES[first:], *SABOTAGES[:first])
    return tuple(sorted(rotated, key=lambda one: found.get(one, _NEVER)))
