"""Row accounting: what the log says, folded over the snapshot's counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from relight.accounting import (
    Change,
    Create,
    Drop,
    DropDatabase,
    Expected,
    Journal,
    Operation,
    Prepare,
    Rename,
    Settle,
    Truncate,
    Unknown,
    expected_rows,
)

SNAPSHOT = {("a", "t"): 10, ("a", "u"): 5, ("b", "t"): 7}


def rows(*operations: Operation) -> dict[str, int | None]:
    return {".".join(name): one.rows for name, one in expected_rows(SNAPSHOT, operations).items()}


@pytest.mark.parametrize(
    ("operations", "changed"),
    [
        ([], {}),
        ([Change("a", "t", 3, 1)], {"a.t": 12}),
        ([Change("a", "t", 3, 1), Change("a", "t", 0, 12)], {"a.t": 0}),
        ([Change("c", "new", 2, 0)], {"c.new": 2}),
        ([Truncate("a", "t")], {"a.t": 0}),
        ([Change("a", "t", 5, 0), Truncate("a", "t"), Change("a", "t", 2, 0)], {"a.t": 2}),
        ([Truncate("a", "nothing")], {"a.nothing": 0}),
        ([Drop("a", "t")], {"a.t": "gone"}),
        ([Drop("a", "nothing")], {}),
        ([Drop("a", "t"), Create("a", "t"), Change("a", "t", 1, 0)], {"a.t": 1}),
        ([Create("a", "v")], {"a.v": 0}),
        ([Create("a", "t", if_absent=True)], {}),
        ([Create("a", "v", if_absent=True)], {"a.v": 0}),
        ([Rename("a", "t", "b", "moved")], {"a.t": "gone", "b.moved": 10}),
        ([Rename("a", "t", "a", "x"), Rename("a", "u", "a", "t"), Rename("a", "x", "a", "u")], {"a.t": 5, "a.u": 10}),
        ([Rename("a", "nothing", "a", "x")], {}),
        ([Rename("a", "t", "a", "old"), Change("a", "old", 0, 4)], {"a.t": "gone", "a.old": 6}),
        ([DropDatabase("a")], {"a.t": "gone", "a.u": "gone"}),
        ([DropDatabase("a"), Create("a", "t")], {"a.t": 0, "a.u": "gone"}),
        ([DropDatabase("nothing")], {}),
        ([Unknown("a", "t", "why")], {"a.t": None}),
        ([Unknown("a", "", "why")], {"a.t": None, "a.u": None}),
        ([Unknown("a", "nothing", "why")], {}),
        ([Unknown("a", "t", "why"), Change("a", "t", 3, 0)], {"a.t": None}),
        ([Unknown("a", "t", "why"), Truncate("a", "t"), Change("a", "t", 3, 0)], {"a.t": 3}),
        ([Unknown("a", "t", "why"), Rename("a", "t", "a", "x")], {"a.t": "gone", "a.x": None}),
        ([Unknown("a", "t", "why"), Drop("a", "t"), Create("a", "t")], {"a.t": 0}),
        ([Unknown("a", "t", "why"), Create("a", "t", if_absent=True)], {"a.t": None}),
    ],
)
def test_what_the_log_says_gives_the_rows_a_table_must_have(
    operations: list[Operation], changed: dict[str, int | str | None]
) -> None:
    before = {".".join(name): count for name, count in SNAPSHOT.items()}
    expected = {name: count for name, count in {**before, **changed}.items() if count != "gone"}
    assert rows(*operations) == expected


def test_inserts_and_deletes_are_told_apart_from_their_sum() -> None:
    assert expected_rows(SNAPSHOT, [Change("a", "t", 8, 8), Change("a", "t", 1, 0)])["a", "t"] == Expected(
        rows=10 + 1, inserted=9, deleted=8
    )


def test_a_table_that_is_made_anew_starts_to_count_anew() -> None:
    for reset in (Truncate("a", "t"), Create("a", "t")):
        done = expected_rows(SNAPSHOT, [Change("a", "t", 8, 3), reset, Change("a", "t", 2, 1)])
        assert done["a", "t"] == Expected(rows=1, inserted=2, deleted=1)


def test_the_reason_why_a_count_is_unknown_is_kept() -> None:
    done = expected_rows(SNAPSHOT, [Unknown("a", "t", "statement format"), Change("a", "t", 1, 0)])
    assert (done["a", "t"].rows, done["a", "t"].reason) == (None, "statement format")


def test_a_changed_count_below_zero_is_not_hidden() -> None:
    """It can only come of a log that does not fit the snapshot, and must end as a mismatch."""
    assert rows(Change("a", "u", 0, 6))["a.u"] == -1


PREPARED = Prepare("'x',1", (Change("a", "t", 3, 1), Change("b", "t", 0, 7), Change("a", "t", 1, 0)))


@pytest.mark.parametrize(
    ("operations", "changed"),
    [
        ([PREPARED], {}),
        ([PREPARED, Settle("'x',1", committed=True)], {"a.t": 13, "b.t": 0}),
        ([PREPARED, Settle("'x',1", committed=False)], {}),
        ([PREPARED, Settle("'x',1", committed=False), Settle("'x',1", committed=False)], {}),
        ([PREPARED, Settle("'y',1", committed=False)], {}),
        ([PREPARED, Change("a", "u", 1, 0), Settle("'x',1", committed=True)], {"a.t": 13, "a.u": 6, "b.t": 0}),
        ([PREPARED, Rename("a", "u", "a", "v"), Settle("'x',1", committed=True)],
         {"a.t": 13, "a.u": "gone", "a.v": 5, "b.t": 0}),
        ([PREPARED, Settle("'x',1", committed=False), Prepare("'x',1", (Change("a", "u", 2, 0),)),
          Settle("'x',1", committed=True)], {"a.u": 7}),
        ([Prepare("'x',1", ()), Settle("'x',1", committed=True)], {}),
    ],
)  # fmt: skip
def test_an_xa_transaction_counts_when_it_is_committed_and_not_before(
    operations: list[Operation], changed: dict[str, int | str]
) -> None:
    before = {".".join(name): count for name, count in SNAPSHOT.items()}
    expected = {name: count for name, count in {**before, **changed}.items() if count != "gone"}
    assert rows(*operations) == expected


def test_an_xa_transaction_that_was_prepared_before_the_snapshot_makes_every_count_unknown() -> None:
    done = expected_rows(SNAPSHOT, [Change("a", "t", 1, 0), Settle("'old'", committed=True), Change("a", "t", 2, 0)])
    assert {one.rows for one in done.values()} == {None}
    assert all("'old' was prepared before the snapshot" in one.reason for one in done.values())
    assert (done["a", "t"].inserted, done["a", "t"].deleted) == (3, 0)


def test_a_table_made_after_an_unknown_xa_transaction_is_counted() -> None:
    assert rows(Settle("'old'", committed=True), Create("a", "v"), Truncate("a", "u"))["a.v"] == 0
    assert rows(Settle("'old'", committed=True), Truncate("a", "u"), Change("a", "u", 2, 0))["a.u"] == 2


def test_committed_twice_the_second_time_is_one_that_nobody_knows() -> None:
    """It can only come of a log that does not fit the snapshot, and must not be counted twice."""
    assert set(rows(PREPARED, Settle("'x',1", committed=True), Settle("'x',1", committed=True)).values()) == {None}


NAMES = st.sampled_from(["t", "u", "v"])
BASES = st.sampled_from(["a", "b"])
OPERATIONS = st.lists(
    st.one_of(
        st.builds(Change, BASES, NAMES, st.integers(0, 9), st.integers(0, 9)),
        st.builds(Truncate, BASES, NAMES),
        st.builds(Drop, BASES, NAMES),
        st.builds(Create, BASES, NAMES, st.booleans()),
        st.builds(Rename, BASES, NAMES, BASES, NAMES),
        st.builds(DropDatabase, BASES),
        st.builds(Unknown, BASES, st.sampled_from(["", "t", "u"]), st.just("why")),
        st.builds(
            Prepare,
            st.sampled_from("xy"),
            st.lists(st.builds(Change, BASES, NAMES, st.integers(0, 9), st.integers(0, 9)), max_size=3).map(tuple),
        ),
        st.builds(Settle, st.sampled_from("xy"), st.booleans()),
    ),
    max_size=20,
)


@given(OPERATIONS)
def test_collected_in_a_journal_the_operations_mean_the_same(operations: list[Operation]) -> None:
    journal = Journal()
    for one in operations:
        if isinstance(one, Change):
            journal.change(one.database, one.table, inserted=one.inserted)
            journal.change(one.database, one.table, deleted=one.deleted)
        else:
            journal.add([one])
    assert expected_rows(SNAPSHOT, journal.operations()) == expected_rows(SNAPSHOT, operations)


@given(OPERATIONS, st.integers(0, 20))
def test_split_over_two_logs_the_operations_mean_the_same(operations: list[Operation], cut: int) -> None:
    journals = []
    for part in (operations[:cut], operations[cut:]):
        journal = Journal()
        journal.add(part)
        journals += journal.operations()
    assert expected_rows(SNAPSHOT, journals) == expected_rows(SNAPSHOT, operations)


@given(OPERATIONS)
def test_operations_survive_the_way_through_a_file(operations: list[Operation]) -> None:
    adapter = TypeAdapter(list[Operation])
    assert adapter.validate_json(adapter.dump_json(operations)) == operations


def test_a_journal_stays_small_however_many_rows_events_a_log_has() -> None:
    journal = Journal()
    for _ in range(1000):
        journal.change("a", "t", inserted=2)
        journal.change("a", "u", deleted=1)
    journal.add([])
    assert journal.operations() == (Change("a", "t", 2000, 0), Change("a", "u", 0, 1000))
