"""What is proved of a fleet, and whose turn it is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from relight.fleet import Server
from relight.rehearsal.history import (
    RehearsalRecord,
    ShardHistory,
    coverage,
    keep,
    load_history,
    next_shards,
    sabotages_in_turn,
)
from relight.sabotage import SABOTAGES
from relight.site import Site

NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)


def record(shard: str, days_ago: float, *, proved: bool = True, **more: Any) -> RehearsalRecord:
    ended = NOW - timedelta(days=days_ago)
    return RehearsalRecord.model_validate({
        "shard": shard, "run_id": f"{shard}-{days_ago}", "target": "latest", "began": ended - timedelta(minutes=3),
        "ended": ended, "outcome": "done" if proved else "failed", "certificate": "a-key" if proved else "", **more,
    })  # fmt: skip


def history(shard: str, *records: RehearsalRecord, rehearsable: bool = True) -> ShardHistory:
    return ShardHistory(shard=shard, rehearsable=rehearsable, rehearsals=records)


def test_the_oldest_proof_is_next_and_one_that_was_never_rehearsed_before_all() -> None:
    fleet = [history("a", record("a", 3)), history("b", record("b", 9)), history("c"), history("d", rehearsable=False)]
    assert next_shards(fleet, 9) == ["c", "b", "a"]
    assert next_shards(fleet, 2) == ["c", "b"]


def test_a_shard_that_keeps_failing_does_not_keep_the_others_from_their_turn() -> None:
    failing = history("a", record("a", 1, proved=False), record("a", 40))
    assert next_shards([failing, history("b", record("b", 5))], 1) == ["b"]


def test_coverage_counts_proofs_that_are_fresh_enough_and_every_shard() -> None:
    fleet = [
        history("a", record("a", 2)), history("b", record("b", 31)), history("d", rehearsable=False),
        history("c", record("c", 1, proved=False), record("c", 8)),
    ]  # fmt: skip
    covered = coverage(fleet, NOW, within_days=30)
    assert (covered.shards, covered.rehearsable, covered.proved, covered.share) == (4, 3, 2, 0.5)
    assert coverage(fleet, NOW, within_days=7).proved == 1


def test_every_kind_of_sabotage_has_its_turn_on_a_shard() -> None:
    done: list[RehearsalRecord] = []
    for day in range(2 * len(SABOTAGES)):
        turn = sabotages_in_turn(history("a", *reversed(done)))
        assert sorted(turn) == sorted(SABOTAGES)
        done.append(record("a", 100 - day, sabotage=turn[0]))
    kinds = [one.sabotage for one in done]
    assert set(kinds[: len(SABOTAGES)]) == set(SABOTAGES)
    assert kinds[: len(SABOTAGES)] == kinds[len(SABOTAGES) :]


def test_a_kind_that_is_not_possible_on_a_shard_stays_first_and_the_others_take_turns() -> None:
    first = sabotages_in_turn(history("a"))
    after = sabotages_in_turn(history("a", record("a", 1, sabotage=first[1])))
    assert after == (first[0], *first[2:], first[1])


def test_shards_begin_with_different_kinds() -> None:
    assert len({sabotages_in_turn(history(f"shard-{n}"))[0] for n in range(60)}) == len(SABOTAGES)


def test_records_come_back_newest_first_and_the_last_of_a_run_counts(
    mysql_server: Callable[..., Server], site: Callable[..., Site]
) -> None:
    place = site(mysql_server(start=False))
    failed = record("shard-1", 5, proved=False).model_copy(update={"run_id": "r"})
    mended = record("shard-1", 4).model_copy(update={"run_id": "r"})
    for one in (failed, mended, record("shard-1", 3, proved=False), record("shard-1", 9)):
        keep(place.store, one)
    (found,) = load_history(place.store, place.fleet)
    assert [one.run_id for one in found.rehearsals] == ["shard-1-3", "r", "shard-1-9"]
    assert found.proof == mended
    assert not found.rehearsable
