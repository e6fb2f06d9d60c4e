"""Of any number of runs one may open a shard's server, whatever happens to the others, on a real store."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier

import pytest

from relight.credentials import EnvironmentCredentials
from relight.errors import ClaimRefused, RelightError
from relight.fencing.epochs import Claim, claim, give_up, load_epochs, newest, win
from relight.fleet import StoreSettings
from relight.store.base import Store
from relight.store.s3 import open_store

WHEN = datetime(2026, 11, 24, 3, tzinfo=UTC)


@pytest.fixture
def store(store_settings: StoreSettings, credentials: EnvironmentCredentials) -> Store:
    return open_store(store_settings, credentials.login("store"))


def wanted(run_id: str, shard: str = "shard-1") -> Claim:
    return Claim(
        shard=shard, epoch=0, run_id=run_id, server=f"{run_id}-server", host="127.0.0.1", port=3306, machine="m",
        who="Ada", why="a test", at=WHEN,
    )  # fmt: skip


def opens(store: Store, run_id: str, shard: str = "shard-1") -> str | None:
    """The run tries to promote; gives its id if it may open its server."""
    try:
        mine = claim(store, wanted(run_id, shard))
        win(store, mine, server_uuid=run_id, who="Ada", why="a test")
    except ClaimRefused:
        return None
    return run_id


def test_of_two_runs_that_promote_at_the_same_moment_exactly_one_wins_every_time(store: Store) -> None:
    for round_ in range(100):
        shard, barrier = f"shard-{round_}", Barrier(2)

        def promote(run_id: str, shard: str = shard, barrier: Barrier = barrier) -> str | None:
            barrier.wait()
            return opens(store, run_id, shard)

        with ThreadPoolExecutor(2) as pool:
            first = [one for one in pool.map(promote, ("a", "b")) if one]
        # The slower one may come so late that the first is through: then it is the next restore of a living shard,
        # which asking the servers refuses. In one epoch there is never a second.
        per_epoch = [one.outcome.run_id for one in load_epochs(store, shard) if one.outcome]
        assert first
        assert sorted(first) == sorted(per_epoch)
        assert len({one.claim.epoch for one in load_epochs(store, shard)}) == len(per_epoch)


def test_while_a_run_is_at_it_no_other_can_claim_the_shard(store: Store) -> None:
    claim(store, wanted("a"))
    with pytest.raises(ClaimRefused, match=r"another run has claimed the shard .*Ada for run a on m"):
        claim(store, wanted("b"))


def test_a_run_that_was_killed_goes_on_with_its_own_claim(store: Store) -> None:
    first = claim(store, wanted("a"))
    assert claim(store, wanted("a")) == first
    opened = win(store, first, server_uuid="u", who="Ada", why="")
    assert win(store, claim(store, wanted("a")), server_uuid="u", who="Ada", why="") == opened


def test_what_was_given_up_is_never_opened_and_what_was_opened_is_never_given_up(store: Store) -> None:
    first = claim(store, wanted("a"))
    give_up(store, "shard-1", first.epoch, who="Bob", why="its machine burnt down")
    with pytest.raises(ClaimRefused, match="its claim was given up by Bob: its machine burnt down"):
        win(store, first, server_uuid="u", who="Ada", why="")
    second = claim(store, wanted("b"))
    assert second.epoch == 2
    win(store, second, server_uuid="v", who="Ada", why="")
    with pytest.raises(ClaimRefused, match="b-server was opened under it"):
        give_up(store, "shard-1", second.epoch, who="Bob", why="")


def test_giving_up_and_opening_at_the_same_moment_has_one_outcome(store: Store) -> None:
    for round_ in range(30):
        shard, barrier = f"shard-{round_}", Barrier(2)
        mine = claim(store, wanted("a", shard))

        def opening(mine: Claim = mine, barrier: Barrier = barrier) -> str | None:
            barrier.wait()
            try:
                return win(store, mine, server_uuid="u", who="Ada", why="").kind
            except ClaimRefused:
                return None

        def giving_up(shard: str = shard, barrier: Barrier = barrier) -> str | None:
            barrier.wait()
            try:
                return give_up(store, shard, 1, who="Bob", why="").kind
            except ClaimRefused:
                return None

        with ThreadPoolExecutor(2) as pool:
            jobs = [pool.submit(opening), pool.submit(giving_up)]
            found = [job.result() for job in jobs if job.result()]
        last = newest(store, shard)
        assert last is not None
        assert last.outcome is not None
        assert found == [last.outcome.kind]


def test_an_older_claim_cannot_win_once_there_is_a_newer_one(store: Store) -> None:
    first = claim(store, wanted("a"))
    win(store, first, server_uuid="u", who="Ada", why="")
    claim(store, wanted("b"))
    with pytest.raises(ClaimRefused, match="it is claimed by run b in epoch 2"):
        win(store, first, server_uuid="u", who="Ada", why="")


def test_a_claim_that_is_not_there_cannot_be_given_up(store: Store) -> None:
    with pytest.raises(ClaimRefused, match="there is no such claim"):
        give_up(store, "shard-1", 7, who="Bob", why="")


class Cut:
    """A store whose answers, or whose requests, are lost at one moment."""

    def __init__(self, store: Store, *, at: int, after: bool) -> None:
        self._store = store
        self._left = at
        self._after = after

    def __getattr__(self, name: str) -> object:
        method = getattr(self._store, name)

        def call(*args: object, **kwargs: object) -> object:
            self._left -= 1
            if self._left == 0 and not self._after:
                raise RelightError("the network is cut")
            result = method(*args, **kwargs)
            if self._left == 0:
                raise RelightError("the network is cut")
            return result

        return call


@pytest.mark.parametrize("after", [False, True], ids=["the request was lost", "the answer was lost"])
@pytest.mark.parametrize("at", range(1, 6))
def test_a_network_that_is_cut_anywhere_leaves_no_second_writer(store: Store, at: int, after: bool) -> None:
    shard = f"shard-{uuid.uuid4().hex[:6]}"
    cut = Cut(store, at=at, after=after)
    first: str | None = None
    try:
        first = opens(cut, "a", shard)  # type: ignore[arg-type]
    except RelightError:
        second = opens(store, "b", shard)
        again = opens(store, "a", shard)
        assert (second is None) or (again is None) or newest(store, shard).claim.epoch > 1  # type: ignore[union-attr]
    decided = [one.outcome.run_id for one in load_epochs(store, shard) if one.outcome]
    assert len(decided) == len({one.claim.epoch for one in load_epochs(store, shard) if one.outcome})
    assert first is None or decided[0] == "a"
