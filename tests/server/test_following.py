"""Who is a whole replica, and whom to ask for a copy: decided without any server."""

from __future__ import annotations

import dataclasses

import pytest

from relight.fleet import Server
from relight.gtid import GtidSet
from relight.server.following import Replica, Source, in_turn, what_it_lacks
from tests.airflow.fleets import server

A, B = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "4e11fa47-71ca-11e1-9e33-c80aa9429562"


def gtids(text: str) -> GtidSet:
    return GtidSet.parse(text)


SOURCE = Source(uuid=A, purged=gtids(f"{B}:1-100"), executed=gtids(f"{B}:1-100,{A}:1-7"))
WHOLE = Replica(read_only=True, offline=False, sources=((A, True),), executed=gtids(f"{B}:1-100,{A}:1-5"))


def test_a_replica_may_lag_by_what_the_source_still_has_in_its_logs() -> None:
    assert what_it_lacks(WHOLE, SOURCE) == ""
    assert what_it_lacks(dataclasses.replace(WHOLE, executed=SOURCE.purged), SOURCE) == ""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"offline": True}, "it is closed"),
        ({"read_only": False}, "it is not read-only"),
        ({"sources": ()}, "does not receive and apply"),
        ({"sources": ((A, False),)}, "does not receive and apply"),
        ({"sources": ((B, True),)}, f"it receives from {B}"),
        ({"sources": ((A, True), (B, True))}, f"it receives from {B}"),
        ({"executed": gtids(f"{B}:1-99,{A}:1-5")}, f"it lacks {B}:100"),
        ({"executed": gtids(f"{B}:1-101,{A}:1-5")}, f"it has transactions of its own: {B}:101"),
        ({"executed": GtidSet()}, "it lacks"),
    ],
)
def test_what_speaks_against_a_replica(change: dict[str, object], why: str) -> None:
    assert why in what_it_lacks(dataclasses.replace(WHOLE, **change), SOURCE)  # type: ignore[arg-type]


SERVERS = [server(name, f"{name}.example.net") for name in "sabc"]


@pytest.mark.parametrize(
    ("finished", "number", "order"),
    [("", 0, "s"), ("", 5, "s"), ("a", 3, "as"), ("ab", 0, "abs"), ("ab", 1, "bas"), ("abc", 2, "cabs")],
)
def test_the_source_is_asked_last_and_not_all_begin_with_the_same_replica(
    finished: str, number: int, order: str
) -> None:
    source: Server = SERVERS[0]
    asked = in_turn([one for one in SERVERS[1:] if one.name in finished], source, number)
    assert "".join(one.name for one in asked) == order
