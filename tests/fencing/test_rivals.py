"""Whole promotions of two rebuilt servers of one shard, on real servers and a real store: one of them wins."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from urllib.parse import urlsplit

import pytest

from relight.credentials import EnvironmentCredentials
from relight.fencing.epochs import Outcome
from relight.fleet import StoreSettings
from relight.site import Site
from relight.steps import promote as promoting
from relight.steps.prepare import prepare
from relight.store import s3
from relight.store.s3 import open_store
from tests.support.proxy import HttpProxy
from tests.support.rivals import Rivals, make_rivals
from tests.support.servers import Servers

DEEP = bool(os.environ.get("RELIGHT_DEEP"))
ROUNDS = 100 if DEEP else 5
REFUSALS = ("another run has claimed the shard", "the shard has a source already", "has lost its claim")


@pytest.fixture
def rivals(servers: Servers, site: Callable[..., Site]) -> Rivals:
    return make_rivals(servers, site)


@pytest.mark.timeout(3600 if DEEP else 600)
def test_two_restores_of_one_shard_that_promote_at_once_have_one_winner_every_time(rivals: Rivals) -> None:
    for _ in range(ROUNDS):
        rivals.reset()
        barrier = Barrier(2)

        def attempt(number: int, barrier: Barrier = barrier) -> str:
            barrier.wait()
            return (rivals.one, rivals.other)[number].promote()

        with ThreadPoolExecutor(2) as pool:
            words = list(pool.map(attempt, (0, 1)))
        opened = rivals.opened()
        assert len(opened) == 1, words
        assert rivals.decided() == opened
        (why,) = [text for text in words if text]
        assert any(refusal in why for refusal in REFUSALS), why


def test_who_has_no_claim_leaves_the_server_that_another_run_prepares_as_it_is(rivals: Rivals) -> None:
    prepare(rivals.one.site, rivals.one.run)
    assert "another run has claimed the shard" in rivals.other.promote()
    with rivals.one.servers.connect(rivals.one.server) as session:
        assert session.value("SELECT @@GLOBAL.super_read_only") == 0
    assert rivals.one.promote() == ""
    assert rivals.opened() == [rivals.one.run.run_id]


def test_who_falls_asleep_between_winning_and_opening_stays_closed_if_another_was_opened_meanwhile(
    rivals: Rivals, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = promoting.win

    def sleepy(*args: Any, **kwargs: Any) -> Outcome:
        outcome = real(*args, **kwargs)
        monkeypatch.setattr(promoting, "win", real)
        assert rivals.other.promote() == ""
        return outcome

    monkeypatch.setattr(promoting, "win", sleepy)
    assert "the shard has moved on" in rivals.one.promote()
    assert rivals.opened() == [rivals.other.run.run_id]
    assert "the shard has moved on" in rivals.one.promote()


@pytest.fixture
def wire(rivals: Rivals, credentials: EnvironmentCredentials, monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpProxy]:
    """The network between the first of the two and the store."""
    settings = rivals.one.site.fleet.store
    with HttpProxy(("127.0.0.1", urlsplit(str(settings.endpoint)).port or 0)) as proxy:
        monkeypatch.setattr(s3, "_ATTEMPTS", 1)  # the network stays away, so trying again only takes time
        far = StoreSettings.model_validate(settings.model_dump() | {"endpoint": f"http://127.0.0.1:{proxy.port}"})
        rivals.one.site = dataclasses.replace(rivals.one.site, store=open_store(far, credentials.login("store")))
        yield proxy


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("answer", [False, True], ids=["the request is lost", "the answer is lost"])
def test_a_network_that_is_cut_at_any_request_of_a_promotion_makes_no_second_writer(
    rivals: Rivals, wire: HttpProxy, answer: bool
) -> None:
    assert rivals.other.promote() == ""  # so that it need not be restarted again
    rivals.reset(other="prepared")
    wire.heal()
    assert rivals.one.promote() == ""
    requests = wire.requests
    assert requests > 15
    for number in range(1, requests + 1):
        rivals.reset(other="prepared")
        wire.lose(number, answer=answer)
        cut = rivals.one.promote()
        assert "the store" in cut, f"request {number} was not missed: {cut}"
        assert set(rivals.opened()) <= set(rivals.decided()), "open before its epoch was won"
        refused = rivals.other.promote()
        assert len(rivals.opened()) <= 1, (number, cut, refused)
        wire.heal()
        again = rivals.one.promote()
        assert len(rivals.opened()) == 1, (number, cut, refused, again)
        # Who has won without hearing of it, and is closed, is no source: the next epoch is free.
        assert rivals.opened() == rivals.decided()[-1:], number
        assert bool(refused) != bool(again), (number, refused, again)
