"""GTID sets: every operation against plain Python sets, every malformed text an error."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relight.errors import StatementFailed, TargetError
from relight.gtid import MAX_NUMBER, Gtid, GtidSet
from relight.server.session import Session
from tests.support.servers import Servers

A = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
B = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"

STREAMS = st.sampled_from([A, B, f"{A}:night", f"{B}:_x9"])
PLAIN = st.frozensets(st.builds(Gtid, STREAMS, st.integers(1, 25)), max_size=40)
"""The model: a set of single transactions, dense enough that intervals touch, overlap and contain each other."""


def plain(gtids: GtidSet) -> frozenset[Gtid]:
    return frozenset(gtids)


def assert_canonical(gtids: GtidSet) -> None:
    """Sorted, apart from each other, none empty: so that equal sets are equal values."""
    for spans in gtids.streams.values():
        assert spans
        assert all(first <= last for first, last in spans)
        assert all(one[1] + 1 < other[0] for one, other in pairwise(spans))


@given(PLAIN, PLAIN)
def test_operations_agree_with_plain_sets(one: frozenset[Gtid], other: frozenset[Gtid]) -> None:
    a, b = GtidSet.of(one), GtidSet.of(other)
    for result, expected in ((a | b, one | other), (a - b, one - other), (a & b, one & other)):
        assert plain(result) == expected
        assert result.count() == len(expected)
        assert bool(result) == bool(expected)
        assert_canonical(result)
    assert (a <= b) == (one <= other)
    assert (a == b) == (one == other)
    assert hash(a) == hash(GtidSet.of(sorted(one, reverse=True)))


WIDE = st.frozensets(st.builds(Gtid, STREAMS, st.integers(1, 400)), min_size=50, max_size=200)
"""Many intervals that rarely touch."""


@given(WIDE, WIDE)
def test_operations_on_many_intervals_agree_with_plain_sets(one: frozenset[Gtid], other: frozenset[Gtid]) -> None:
    a, b = GtidSet.of(one), GtidSet.of(other)
    for result, expected in ((a | b, one | other), (a - b, one - other), (a & b, one & other)):
        assert plain(result) == expected
        assert_canonical(result)
    assert (a <= b) == (one <= other)
    assert (a & b) <= a
    assert all((gtid in a) == (gtid in one) for gtid in one | other)


class Counted(int):
    """A number that counts how often one is compared."""

    compared = 0

    def __lt__(self, other: int) -> bool:
        Counted.compared += 1
        return int(self) < int(other)

    def __le__(self, other: int) -> bool:
        Counted.compared += 1
        return int(self) <= int(other)

    def __gt__(self, other: int) -> bool:
        Counted.compared += 1
        return int(self) > int(other)

    def __ge__(self, other: int) -> bool:
        Counted.compared += 1
        return int(self) >= int(other)


def counted(count: int, first: int) -> GtidSet:
    """So many intervals, four apart."""
    spans = tuple((Counted(4 * n + first), Counted(4 * n + first + 1)) for n in range(count))
    return GtidSet({A: spans})


OPERATIONS: dict[str, Callable[[GtidSet, GtidSet], object]] = {
    "difference": operator.sub, "intersection": operator.and_, "union": operator.or_, "subset": operator.le,
    "subset of itself": lambda one, _: one <= one | one, "membership": lambda one, _: Gtid(A, Counted(4 * 3000)) in one,
}  # fmt: skip


@pytest.mark.parametrize("second", [1, 2, 3, 4])
@pytest.mark.parametrize("name", OPERATIONS)
def test_four_times_as_many_intervals_take_four_times_as_many_steps(name: str, second: int) -> None:
    steps = []
    for count in (1000, 4000):
        one, other = counted(count, 1), counted(count, second)
        Counted.compared = 0
        OPERATIONS[name](one, other)
        steps.append(Counted.compared)
    assert steps[1] <= 5 * steps[0] + 100, "more than linear"


@given(PLAIN, st.builds(Gtid, STREAMS, st.integers(1, 26)))
def test_membership_agrees_with_plain_sets(members: frozenset[Gtid], one: Gtid) -> None:
    assert (one in GtidSet.of(members)) == (one in members)


@given(PLAIN)
def test_what_is_written_is_read_back_the_same(members: frozenset[Gtid]) -> None:
    written = GtidSet.of(members)
    assert GtidSet.parse(str(written)) == written
    assert str(GtidSet.parse(str(written))) == str(written)


@given(PLAIN, st.randoms(use_true_random=False))
def test_the_order_and_overlap_of_intervals_in_a_text_do_not_matter(members: frozenset[Gtid], draw) -> None:  # type: ignore[no-untyped-def]
    parts = [str(gtid) for gtid in members] * 2
    draw.shuffle(parts)
    text = ",\n ".join(part.upper() for part in parts)
    assert GtidSet.parse(text) == GtidSet.of(members)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("", ""),
        (" \n", ""),
        (f"{A}:1", f"{A}:1"),
        (f"{A}:1-1", f"{A}:1"),
        (f"{A}:1-5:7", f"{A}:1-5:7"),
        (f"{A}:7:1-5", f"{A}:1-5:7"),
        (f" {A} :\n1 - 5 : 7 ", f"{A}:1-5:7"),
        (f"{A}:1-5:6", f"{A}:1-6"),
        (f"{A}:1-9:3-4:2", f"{A}:1-9"),
        (f"{A.upper()}:3", f"{A}:3"),
        (f"{B}:1,\n{A}:2", f"{A}:2,{B}:1"),
        (f"{A}:1,{A}:2", f"{A}:1-2"),
        (f"{A}:night:1-3", f"{A}:night:1-3"),
        (f"{A}:1-2:night:1:3:zz:5", f"{A}:1-2:night:1:3:zz:5"),
        (f"{A}:Night:1", f"{A}:night:1"),
        (f"{A}:night:1,{A}:4", f"{A}:4:night:1"),
        (f"{A}:1,,", f"{A}:1"),
        (f"{A}:{MAX_NUMBER}", f"{A}:{MAX_NUMBER}"),
    ],
)
def test_every_form_the_server_writes_is_read(text: str, canonical: str) -> None:
    assert str(GtidSet.parse(text)) == canonical


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("latest", "not a server UUID"),
        ("1-2-3", "not a server UUID"),
        (f"{A[:-1]}:1", "not a server UUID"),
        (f"{A[:-1]}g:1", "not a server UUID"),
        (A.replace("-", "") + ":1", "not a server UUID"),
        (A, "no transaction number"),
        (f"{A}:", "neither"),
        (f"{A}:0", "neither"),
        (f"{A}:0-5", "neither"),
        (f"{A}:-5", "neither"),
        (f"{A}:01", "neither"),
        (f"{A}:5-", "neither"),
        (f"{A}:5-3", "not an interval"),
        (f"{A}:1-2-3", "neither"),
        (f"{A}:1.5", "neither"),
        (f"{A}:\uff11", "neither"),
        (f"{A}:{MAX_NUMBER + 1}", "not an interval"),
        (f"{A}:{'a' * 33}:1", "neither"),
        (f"{A}:t-g:1", "neither"),
        (f"{A}:tag", "'tag' is neither"),
        (f"{A}:1:tag", "'tag' is neither"),
        (f"{A}:one:two:1", "'one' is neither"),
        (f"{A}:1 2", "'1 2' is neither"),
        (f"{A}:t g:1", "'t g' is neither"),
        (f"{A[:8]} {A[8:]}:1", "not a server UUID"),
        (f"{A}:1;{B}:1", "neither"),
        (f"{A}:1,{B}", "no transaction number"),
    ],
)
def test_a_malformed_set_is_an_error_that_says_what_is_wrong_with_it(text: str, why: str) -> None:
    with pytest.raises(TargetError, match=why) as refused:
        GtidSet.parse(text)
    assert refused.value.on == text
    assert "server-uuid:1-5:7" in refused.value.hint


@pytest.fixture(scope="module")
def session(module_servers: Servers) -> Iterator[Session]:
    with module_servers.connect(module_servers.make()) as session:
        yield session


PIECES = st.sampled_from(
    [A, A.upper(), B, "tag", "a", "1", "2", "3-5", "4-9", "7-6", "0", ":", ":", ":", ",", "-", " "]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PIECES, max_size=9).map("".join))
def test_what_is_read_is_what_the_server_reads(session: Session, tail: str) -> None:
    text = f"{A}:{tail}"
    try:
        parsed = GtidSet.parse(text)
    except TargetError:
        return  # stricter than the server in some places, such as an interval that runs backwards
    try:
        assert str(parsed) == str(session.value("SELECT GTID_SUBTRACT(%s, '')", text)).replace("\n", "")
    except StatementFailed as refused:
        pytest.fail(f"the server refuses {text!r}: {refused}")


@given(st.text(alphabet=st.sampled_from("0123456789abcdef-:, \nxZ_é١"), max_size=80))
def test_no_text_does_anything_but_parse_or_be_refused(text: str) -> None:
    try:
        parsed = GtidSet.parse(text)
    except TargetError:
        return
    assert_canonical(parsed)


@pytest.mark.parametrize("text", ["", f"{A}:1-2", f"{A}:1:3", f"{A}:1,{B}:1", f"{A}:1:tag:1"])
def test_a_set_is_not_taken_for_a_single_transaction(text: str) -> None:
    with pytest.raises(TargetError, match="not a single GTID"):
        Gtid.parse(text)


@pytest.mark.parametrize(("text", "stream", "number"), [(f"{A}:23", A, 23), (f" {A}:t:1 ", f"{A}:t", 1)])
def test_a_single_transaction_is_read_with_its_tag(text: str, stream: str, number: int) -> None:
    gtid = Gtid.parse(text)
    assert (gtid.stream, gtid.number) == (stream, number)
    assert str(gtid) == text.strip()


def test_a_set_of_a_billion_transactions_is_as_quick_as_a_small_one() -> None:
    whole, hole = GtidSet.parse(f"{A}:1-{MAX_NUMBER}"), GtidSet.parse(f"{A}:500-600")
    assert str(whole - hole) == f"{A}:1-499:601-{MAX_NUMBER}"
    assert (whole - hole) | hole == whole
    assert whole & hole == hole
    assert (whole - hole).count() == MAX_NUMBER - 101
