"""Which segments follow a snapshot: decided purely, told as stories."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relight.backups.chain import Chain, follow, newest_history
from relight.backups.manifest import SegmentManifest
from relight.errors import PlanError
from relight.gtid import GtidSet

A = "aaaaaaaa-0000-0000-0000-000000000000"
B = "bbbbbbbb-0000-0000-0000-000000000000"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def gtids(text: str) -> GtidSet:
    """``a1-5 b1-3``, with the servers' UUIDs put in."""
    parts = text.replace(",", " ").split()
    return GtidSet.parse(",".join(f"{ {'a': A, 'b': B}[part[0]] }:{part[1:]}".replace(" ", "") for part in parts))


def segment(
    server: str, number: int, previous: str, holds: str, *times: float, shipped: float | None = None
) -> SegmentManifest:
    """A segment; times of the first and the last commit in minutes after noon."""
    first, last = (*times, *times, 0, 0)[:2]
    uuid, file = {"a": A, "b": B}[server], f"binlog.{number:06d}"
    held = gtids(holds)
    return SegmentManifest(
        key=f"s/segments/{uuid}/{file}.00000000.zst", shard="s", server_uuid=uuid, file=file,
        previous_gtids=gtids(previous), gtids=held, first_commit=NOON + timedelta(minutes=first),
        last_commit=NOON + timedelta(minutes=last), transactions=held.count(), log_bytes=1000, stored_bytes=100,
        sha256="0" * 64, log_sha256="0" * 64, shipped_at=NOON + timedelta(minutes=last if shipped is None else shipped),
    )  # fmt: skip


def story(chain: Chain) -> list[tuple[str, str]]:
    """File and what is taken from it, in order."""
    short = [(f"{link.segment.server_uuid[0]}{int(link.segment.file[-6:])}", str(link.take)) for link in chain.links]
    return [(name, take.replace(f"{A}:", "a").replace(f"{B}:", "b").replace(",", " ")) for name, take in short]


def test_segments_of_one_server_follow_each_other_from_inside_the_first() -> None:
    logs = [segment("a", 1, "", "a1-10"), segment("a", 2, "a1-10", "a11-20"), segment("a", 3, "a1-20", "a21-30")]
    chain = follow(gtids("a1-14"), logs)
    assert story(chain) == [("a2", "a15-20"), ("a3", "a21-30")]
    assert chain.end == gtids("a1-30")
    assert not chain.beyond


def test_the_order_in_which_segments_are_listed_does_not_matter() -> None:
    logs = [segment("a", n, f"a1-{10 * n - 10}" if n > 1 else "", f"a{10 * n - 9}-{10 * n}") for n in range(1, 13)]
    assert story(follow(GtidSet(), logs[::-1])) == story(follow(GtidSet(), logs))


def test_a_hole_ends_the_chain_and_names_what_is_missing() -> None:
    logs = [segment("a", 1, "", "a1-10"), segment("a", 3, "a1-20", "a21-30"), segment("a", 4, "a1-30", "a31-40")]
    chain = follow(gtids("a1-5"), logs)
    assert chain.end == gtids("a1-10")
    assert [one.file for one in chain.beyond] == ["binlog.000003", "binlog.000004"]
    assert chain.missing == gtids("a11-20")


def test_a_hole_before_the_snapshot_does_not_matter() -> None:
    logs = [segment("a", 1, "", "a1-10"), segment("a", 3, "a1-20", "a21-30"), segment("a", 4, "a1-30", "a31-40")]
    chain = follow(gtids("a1-25"), logs)
    assert story(chain) == [("a3", "a26-30"), ("a4", "a31-40")]
    assert not chain.beyond


def test_after_a_failover_overlapping_logs_are_taken_once() -> None:
    """B was a replica, had logged A's transactions too, and took over after a25."""
    logs = [
        segment("a", 1, "", "a1-10"), segment("a", 2, "a1-10", "a11-20"), segment("a", 3, "a1-20", "a21-25"),
        segment("b", 1, "", "a1-18"), segment("b", 2, "a1-18", "a19-25 b1-5"), segment("b", 3, "a1-25 b1-5", "b6-9"),
    ]  # fmt: skip
    chain = follow(gtids("a1-12"), logs)
    assert chain.end == gtids("a1-25 b1-9")
    taken = [take for link in chain.links for take in link.take]
    assert len(taken) == len(set(taken)) == 22
    # The new source's logs lead all the way, so the old one's need not be fetched.
    assert [name for name, _ in story(chain)] == ["b1", "b2", "b3"]


def test_after_a_failover_the_old_logs_fill_what_the_new_ones_do_not_have() -> None:
    logs = [
        segment("a", 1, "", "a1-10"), segment("a", 2, "a1-10", "a11-20"),
        segment("b", 7, "a1-20", "b1-5"), segment("b", 8, "a1-20 b1-5", "b6-9"),
    ]  # fmt: skip
    assert story(follow(gtids("a1-10"), logs)) == [("a2", "a11-20"), ("b7", "b1-5"), ("b8", "b6-9")]


def test_a_failover_there_and_back_is_followed() -> None:
    logs = [
        segment("a", 1, "", "a1-10"), segment("b", 5, "a1-10", "b1-4"), segment("a", 2, "a1-10", "b1-4 a11-12"),
        segment("b", 6, "a1-12 b1-4", "b5-6"),
    ]  # fmt: skip
    chain = follow(gtids("a1-3"), logs)
    assert chain.end == gtids("a1-12 b1-6")
    assert not chain.beyond


def test_transactions_that_a_failover_left_behind_are_not_taken() -> None:
    """A logged a1-30, B had only a1-25 when it took over."""
    logs = [
        segment("a", 1, "", "a1-20", 0, 10), segment("a", 2, "a1-20", "a21-30", 10, 20),
        segment("b", 1, "a1-25", "b1-5", 25, 30),
    ]  # fmt: skip
    chain = follow(gtids("a1-10"), logs, newest_history(logs))
    assert chain.end == gtids("a1-25 b1-5")
    assert chain.left_out == gtids("a26-30")
    assert not chain.beyond


def test_logs_of_a_server_that_was_reset_are_told_apart_by_what_came_before() -> None:
    """The same server UUID, file numbers from 1 again."""
    logs = [segment("a", 1, "", "a1-10"), segment("a", 2, "a1-10", "a11-20"), segment("a", 1, "a1-20", "a21-30")]
    assert story(follow(gtids("a1-5"), logs)) == [("a1", "a6-10"), ("a2", "a11-20"), ("a1", "a21-30")]


def test_a_segment_whose_object_is_gone_is_named_only_if_it_would_lead_further() -> None:
    logs = [segment("a", 1, "", "a1-10"), segment("a", 2, "a1-10", "a11-20"), segment("a", 3, "a1-20", "a21-30")]
    assert [one.file for one in follow(gtids("a1-5"), logs, lost=[logs[1].key]).damaged] == ["binlog.000002"]
    assert not follow(gtids("a1-20"), logs, lost=[logs[1].key]).damaged


@pytest.mark.parametrize(
    ("logs", "expected"),
    [
        ([], None),
        ([segment("a", 1, "", "a1-9", 0, 5)], "a1-9"),
        # B took over at a7; A's last ones are of the past
        ([segment("a", 1, "", "a1-9", 0, 5), segment("b", 1, "a1-7", "b1-2", 6, 8)], "a1-7 b1-2"),
        # A's logs are newer than what was shipped from B when B was a replica
        ([segment("b", 1, "", "a1-7", 0, 4), segment("a", 1, "", "a1-9", 0, 5)], "a1-9"),
        # the same, but B's were shipped later: B knows nothing that A does not
        ([segment("b", 1, "", "a1-7", 0, 4, shipped=99), segment("a", 1, "", "a1-9", 0, 5, shipped=9)], "a1-9"),
    ],
)
def test_the_newest_history_is_that_of_the_server_that_wrote_last(
    logs: list[SegmentManifest], expected: str | None
) -> None:
    assert newest_history(logs) == (None if expected is None else gtids(expected))


def test_two_histories_of_which_neither_is_clearly_newer_are_left_to_the_operator() -> None:
    logs = [segment("a", 1, "", "a1-9", 0, 9, shipped=10), segment("b", 1, "a1-7", "b1-2", 6, 8, shipped=20)]
    with pytest.raises(PlanError) as caught:
        newest_history(logs)
    assert f"--target gtid:{A}:9" in caught.value.hint
    assert f"--target gtid:{B}:2" in caught.value.hint


@settings(max_examples=200)
@given(
    cuts=st.sets(st.integers(1, 59), max_size=12), start=st.integers(0, 60), lost=st.sets(st.integers(0, 12)),
    shuffled=st.randoms(use_true_random=False),
)  # fmt: skip
def test_a_chain_never_takes_twice_never_skips_and_stops_exactly_at_the_first_hole(
    cuts: set[int], start: int, lost: set[int], shuffled: object
) -> None:
    edges = [0, *sorted(cuts), 60]
    spans = [(a + 1, b) for i, (a, b) in enumerate(pairwise(edges)) if i not in lost]
    logs = [segment("a", b, f"a1-{a - 1}" if a > 1 else "", f"a{a}-{b}") for a, b in spans]
    shuffled.shuffle(logs)  # type: ignore[attr-defined]
    chain = follow(gtids(f"a1-{start}") if start else GtidSet(), logs)
    reached = start
    for a, b in spans:  # the slow and obvious twin
        if a <= reached + 1:
            reached = max(reached, b)
    assert chain.end == (gtids(f"a1-{reached}") if reached else GtidSet())
    assert bool(chain.beyond) == any(b > reached for _, b in spans)
    done = chain.start
    for link in chain.links:
        assert link.take
        assert not link.take & done
        assert link.segment.previous_gtids <= done
        done = done | link.take
    assert done == chain.end
