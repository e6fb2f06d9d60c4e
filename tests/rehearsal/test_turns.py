"""Whose turn it is tonight: every promise is kept, no night has more work than another, and no night is too full."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from relight.errors import FleetError
from relight.fleet import Tier
from relight.rehearsal.history import RehearsalRecord, ShardHistory
from relight.rehearsal.turns import NIGHT, Turn, due, tonight
from tests.airflow.fleets import fleet

NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)


def record(shard: str, ended: datetime, *, proved: bool = True, minutes: float = 10) -> RehearsalRecord:
    return RehearsalRecord(
        shard=shard, run_id=f"{shard}-{ended}", target="latest", began=ended - timedelta(minutes=minutes), ended=ended,
        outcome="done" if proved else "failed", certificate="a-key" if proved else "",
    )  # fmt: skip


class Years:
    """A fleet whose rehearsals are begun night after night."""

    def __init__(self, count: int, every: float, *, proved_ago: float | None = 0, at_once: int = 100) -> None:
        names = [f"s{number}" for number in range(count)]
        self.fleet = fleet(*names).model_copy(update={"tiers": (Tier(tier=1, prove_every_days=every),)})
        first = NOW - timedelta(days=proved_ago) if proved_ago is not None else None
        self.records = {name: (record(name, first),) if first else () for name in names}
        self.at_once = at_once
        self.now = NOW

    def histories(self) -> list[ShardHistory]:
        return [
            ShardHistory(shard=name, rehearsable=True, rehearsals=records) for name, records in self.records.items()
        ]

    def night(self, *, failing: tuple[str, ...] = ()) -> Turn:
        turn = tonight(due(self.histories(), self.fleet), self.now, at_once=self.at_once, hours=8)
        for name in turn.shards:
            made = record(name, self.now + timedelta(hours=1), proved=name not in failing)
            self.records[name] = (made, *self.records[name])[:20]
        self.now += NIGHT
        return turn

    def oldest(self) -> float:
        """Age of the oldest proof in days."""
        return max((self.now - one.proof.ended) / NIGHT for one in self.histories() if one.proof)


@pytest.mark.parametrize(("count", "every"), [(300, 30), (2, 30), (7, 7), (45, 14), (3, 1), (1, 2.5)])
def test_night_after_night_no_proof_gets_too_old_and_all_nights_have_about_the_same_work(
    count: int, every: float
) -> None:
    years = Years(count, every)
    counts = []
    for _ in range(100):
        counts.append(len(years.night().shards))
        assert years.oldest() <= every + 0.05, f"after {len(counts)} nights"
    even = count / every
    assert max(counts) <= 1.3 * even + 1
    assert sum(counts) <= 100 * (1.3 * even + 0.1) or every < 3, "no more is done than the promise needs"


def test_the_one_that_is_due_soonest_comes_first() -> None:
    names = ("late", "soon", "never")
    made = fleet(*names)
    found = due(
        [
            ShardHistory(shard="late", rehearsable=True, rehearsals=(record("late", NOW),)),
            ShardHistory(shard="soon", rehearsable=True, rehearsals=(record("soon", NOW - timedelta(days=20)),)),
            ShardHistory(shard="never", rehearsable=True),
        ],
        made,
    )
    assert [one.shard for one in found] == ["never", "soon", "late"]


def test_a_shard_of_a_stricter_tier_is_due_sooner() -> None:
    made = fleet("a", "b")
    strict = made.shards[1].model_copy(update={"tier": 2})
    tiers = (Tier(tier=1, prove_every_days=30), Tier(tier=2, prove_every_days=3))
    made = made.model_copy(update={"shards": (made.shards[0], strict), "tiers": tiers})
    histories = [ShardHistory(shard=n, rehearsable=True, rehearsals=(record(n, NOW),)) for n in ("a", "b")]
    assert [one.shard for one in due(histories, made)] == ["b", "a"]


def test_a_shard_that_keeps_failing_waits_for_the_others_and_takes_nobodys_turn() -> None:
    years = Years(20, 10, proved_ago=9)
    first = years.night(failing=("s0",))
    assert len(first.shards) == 20
    for _ in range(30):
        turn = years.night(failing=("s0",))
        assert turn.shards[-1] == "s0", "it is tried every night, behind all others"
        assert turn.overdue == ("s0",)
    others = [one for one in years.histories() if one.shard != "s0"]
    assert all(one.proof and years.now - one.proof.ended < 10 * NIGHT for one in others)


def test_a_fleet_without_any_proof_does_not_get_more_in_a_night_than_fits_and_that_is_said() -> None:
    years = Years(300, 30, proved_ago=None, at_once=2)
    turn = years.night()
    assert len(turn.shards) == 16, "two at a time for eight hours, an hour each as nothing is known"
    assert turn.needed == 300
    assert len(turn.overdue) == 300
    assert "a night is too short for all" in turn.why
    assert "no proof that is young enough have 300: s0, s1" in turn.why


def test_what_takes_longer_than_a_night_is_begun_alone() -> None:
    made = fleet("a", "b")
    old = NOW - timedelta(days=40)
    histories = [
        ShardHistory(shard=n, rehearsable=True, rehearsals=(record(n, old, minutes=20 * 60),)) for n in ("a", "b")
    ]
    assert tonight(due(histories, made), NOW, at_once=1, hours=8).shards == ("a",)


def test_where_nothing_is_due_nothing_is_begun() -> None:
    years = Years(5, 30)
    turn = years.night()
    assert (turn.shards, turn.needed, turn.overdue) == ((), 0, ())
    assert turn.why == "0 are needed tonight to keep what the tiers promise, 0 are begun"


def test_a_fleet_that_cannot_be_rehearsed_at_all_is_no_fleet_without_work() -> None:
    with pytest.raises(FleetError, match="no scratch server"):
        due([ShardHistory(shard="a", rehearsable=False)], fleet("a", scratch=False))
