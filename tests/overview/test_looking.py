"""A look at a fleet, on a real store: every warning, and that no shard hides another."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from relight.backups.catalog import load_catalog
from relight.errors import StoreUnavailable
from relight.fleet import Tier
from relight.forecast.learning import learn
from relight.forecast.loads import databases_of, forecast_of_plan
from relight.forecast.values import Span
from relight.lab.ports import free_ports
from relight.overview.card import Card, Overview
from relight.overview.looking import look_over
from relight.planning.resolve import make_plan
from relight.planning.target import Target
from relight.site import Site
from relight.store import layout
from relight.store.base import MOST_RECORD, Store, StoredObject
from tests.overview import made
from tests.overview.conftest import Place
from tests.overview.made import DAY, HOUR
from tests.support.rivals import forget


def only(overview: Overview) -> Card:
    (card,) = overview.cards
    return card


def test_a_shard_that_needs_nothing(place: Place) -> None:
    site = place("a")
    made.in_order(site.store, "a")
    made.promotion(site.store, "a")
    made.promotion(site.store, "a", opened=False)
    card = only(look_over(site))
    assert (card.health, card.warnings) == ("good", ())
    assert (card.segments, card.log_bytes, card.databases) == (2, 2 * 100 * 50, 3)
    assert (card.stored_bytes, card.data_bytes) == (12, 12000)
    assert (card.proof_seconds, card.last_rehearsal, card.epoch) == (170.0, "done", 1)
    assert 60 <= (card.data_loss_seconds(datetime.now(UTC)) or 0) < 120
    assert card.shipped_at
    assert datetime.now(UTC) - card.shipped_at < timedelta(minutes=1)


def test_logs_from_before_the_full_backup_are_not_replayed(place: Place) -> None:
    site = place("a")
    made.segment(site.store, "a", 1, commit_age=2 * HOUR)
    made.snapshot(site.store, "a", age=-2)
    card = only(look_over(site))
    assert (card.segments, card.log_bytes) == (0, 0)
    assert card.last_commit == card.snapshot_at, "the full backup is newer"
    assert card.shipped_at, "when a log was shipped last is known all the same"


def test_the_newest_log_of_each_server_counts(place: Place) -> None:
    site = place("a")
    made.snapshot(site.store, "a", age=HOUR)
    made.segment(site.store, "a", 9, commit_age=30, server="00000000-71ca-11e1-9e33-c80aa9429562")
    made.segment(site.store, "a", 3, commit_age=300)
    card = only(look_over(site))
    assert (card.data_loss_seconds(datetime.now(UTC)) or 0) < 60
    assert card.segments == 2


@pytest.mark.parametrize(
    ("making", "health", "words"),
    [
        pytest.param(lambda store: None, "bad", "take one now: relight backup full a", id="no full backup"),
        pytest.param(lambda store: made.snapshot(store, "a", age=50 * HOUR), "warning",
                     "the last full backup is 2 d 2 h old: take one now: relight backup full a", id="old"),
        pytest.param(lambda store: made.snapshot(store, "a", age=3 * HOUR), "warning",
                     "no logs shipped for 3 h 0 min: what was written since would be lost; if it is written to: "
                     "relight backup logs a", id="silent"),
        pytest.param(lambda store: made.in_order(store, "a") or made.segment(store, "a", 3, commit_age=1, lost=True),
                     "bad", "logs that were shipped are gone, and a restore ends there: a/segments/", id="log gone"),
        pytest.param(lambda store: made.snapshot(store, "a", age=HOUR), "warning", "never proved: relight rehearse a",
                     id="never proved"),
        pytest.param(lambda store: made.rehearsal(store, "a", age=40 * DAY), "bad",
                     "last proved 40 d 0 h ago, promised is every 30 days: relight rehearse a", id="old proof"),
        pytest.param(lambda store: [made.in_order(store, "a"), made.rehearsal(store, "a", age=DAY, proved=False,
                     problem="judge: 2 checks failed")], "bad", "the last rehearsal failed: judge: 2 checks failed: "
                     "find out why, then: relight rehearse a", id="failed rehearsal"),
    ],
)  # fmt: skip
def test_what_needs_attention_is_said_with_the_command_that_helps(
    place: Place, making: Callable[[Store], object], health: str, words: str
) -> None:
    site = place("a")
    making(site.store)
    card = only(look_over(site))
    assert card.health == health
    assert any(words in one for one in card.warnings), card.warnings


def test_a_tier_says_how_old_a_proof_may_be(place: Place) -> None:
    site = place("a", tiers=(Tier(tier=1, prove_every_days=2),))
    made.in_order(site.store, "a")
    assert only(look_over(site)).warnings == ("last proved 3 d 0 h ago, promised is every 2 days: relight rehearse a",)


def test_a_shard_without_a_scratch_server_is_said_to_be_unproved(place: Place) -> None:
    site = place("a", scratch=False)
    made.in_order(site.store, "a")
    card = only(look_over(site))
    assert card.health == "warning"
    assert "no scratch server" in card.warnings[0]


def test_a_log_that_has_grown_until_a_restore_breaks_the_promise_is_flagged_on_an_ordinary_day(place: Place) -> None:
    site = place("a", tiers=(Tier(tier=1, objective_minutes=60),))
    made.in_order(site.store, "a")
    made.measured(site.store, replay_bytes_per_s=1000)
    before = only(look_over(site))
    assert (before.health, before.warnings) == ("good", ())
    made.segment(site.store, "a", 3, commit_age=1, stored=100_000, expansion=80)
    after = only(look_over(site, look_over(site)))
    assert after.health == "bad"
    assert after.forecast
    assert 8000 < after.forecast.seconds < 8100, "8 MB at 1 kB/s"
    (warning,) = after.warnings
    assert "a restore would take 2 h 14 min, promised is 1 h 0 min" in warning
    assert warning.endswith("take a full backup now: relight backup full a")


def test_a_full_backup_is_no_advice_where_the_rest_alone_takes_too_long(place: Place) -> None:
    site = place("a", tiers=(Tier(tier=1, objective_minutes=1),))
    made.in_order(site.store, "a")
    made.measured(site.store, replay_bytes_per_s=1000, other_seconds=30)
    (warning,) = only(look_over(site)).warnings
    assert "a new full backup would hardly help" in warning, "10 kB of log"
    made.segment(site.store, "a", 3, commit_age=1, stored=10_000, expansion=50)
    (warning,) = only(look_over(site)).warnings
    assert "a new full backup alone is not enough" in warning


@pytest.mark.parametrize("learned", [False, True], ids=["a guess", "measured"])
def test_a_full_backup_is_no_advice_where_there_is_little_log(place: Place, *, learned: bool) -> None:
    site = place("a", tiers=(Tier(tier=1, objective_minutes=4),))
    made.in_order(site.store, "a")
    made.segment(site.store, "a", 3, commit_age=1, stored=10_000, expansion=50)
    if learned:
        made.measured(site.store, replay_bytes_per_s=10**6, other_seconds=30)
    (warning,) = only(look_over(site)).warnings
    assert "a restore" in warning
    assert "relight backup full" not in warning
    assert ("relight rehearse a" in warning) is not learned


def planned(site: Site) -> tuple[int, int, Span]:
    """What the plan of a restore says that there is to replay, and how long it takes."""
    store = site.store
    catalog = load_catalog(store, "a", parallel=4)
    plan = make_plan(catalog, Target(kind="latest"), datetime.now(UTC))
    found = forecast_of_plan(plan, databases_of(catalog, plan), site.fleet, learn(store))
    return sum(one.segment.log_bytes for one in plan.segments), len(plan.segments), found.total


def test_what_there_is_to_replay_and_how_long_it_takes_is_what_the_plan_says(place: Place) -> None:
    site = place("a")
    made.measured(site.store, replay_bytes_per_s=1000)
    made.snapshot(site.store, "a", age=HOUR)
    # The newest is compressed twice as well as the others, and one was shipped late: the full backup holds it.
    made.segment(site.store, "a", 0, commit_age=2 * HOUR, stored=5_000)
    for number, expansion in ((1, 3), (2, 4), (3, 8)):
        made.segment(site.store, "a", number, commit_age=60, stored=10_000 // number, expansion=expansion)
    seen = look_over(site)
    card = only(seen)
    assert (card.log_bytes, card.segments, card.forecast) == planned(site)
    made.segment(site.store, "a", 4, commit_age=1, stored=700, expansion=9)
    for previous in (None, seen, look_over(site, seen)):
        card = only(look_over(site, previous))
        assert (card.log_bytes, card.segments, card.forecast) == planned(site)


def test_as_long_as_nothing_was_measured_a_forecast_is_called_a_guess_and_is_not_bad(place: Place) -> None:
    site = place("a", tiers=(Tier(tier=1, objective_minutes=1),))
    made.in_order(site.store, "a")
    card = only(look_over(site))
    assert card.health == "warning"
    assert "(a guess, as long as no run was measured)" in card.warnings[0]


def test_without_a_promise_none_can_be_broken(place: Place) -> None:
    site = place("a")
    made.in_order(site.store, "a")
    made.measured(site.store, replay_bytes_per_s=0.001)
    assert only(look_over(site)).warnings == ()


def test_the_worst_is_said_first(place: Place) -> None:
    site = place("a")
    made.rehearsal(site.store, "a", age=40 * DAY)
    card = only(look_over(site))
    assert [one.split(":")[0] for one in card.warnings] == [
        "no full backup", "last proved 40 d 0 h ago, promised is every 30 days",
    ]  # fmt: skip


def test_a_full_backup_whose_parts_are_gone_is_passed_over(place: Place) -> None:
    site = place("a")
    usable = made.snapshot(site.store, "a", age=9 * HOUR)
    broken = made.snapshot(site.store, "a", age=HOUR, parts=3, lost_parts=1)
    for card in (only(look_over(site)), only(look_over(site, look_over(site)))):
        assert (card.snapshot, card.health) == (usable.id, "warning")
        assert f"parts of the full backup {broken.id} are gone" in card.warnings


def test_a_manifest_that_nobody_can_read_is_passed_over(place: Place) -> None:
    site = place("a")
    usable = made.snapshot(site.store, "a", age=9 * HOUR)
    site.store.put(layout.snapshot_manifest("a", "29991122T190211Z-1a2b3c4d"), b"{}")
    card = only(look_over(site))
    assert (card.snapshot, card.health) == (usable.id, "warning")
    assert any("the manifest of the full backup 29991122T190211Z-1a2b3c4d cannot be read" in w for w in card.warnings)


def test_a_shard_that_cannot_be_looked_at_hides_no_other_and_nothing_is_concluded(place: Place) -> None:
    site = place("a", "b", "c")
    for name in ("a", "c"):
        made.in_order(site.store, name)
    made.snapshot(site.store, "b", age=HOUR / 2)
    site.store.put(layout.rehearsal("b", made.ago(60), "r"), b"not a record")
    cards = look_over(site).cards
    assert [card.health for card in cards] == ["good", "unknown", "good"]
    (only_warning,) = cards[1].warnings
    assert "its rehearsals cannot be looked at" in only_warning
    assert cards[1].snapshot, "what can be seen is shown"


def test_a_store_that_is_away_is_no_matter_of_one_shard(place: Place) -> None:
    with pytest.raises(StoreUnavailable):
        look_over(place("a", "b", endpoint=f"http://127.0.0.1:{free_ports(1)[0]}"))


@dataclasses.dataclass
class Asked:
    """A store that counts what it is asked for. One shard of it can be away."""

    store: Store
    away: str = "-"
    asked: list[str] = dataclasses.field(default_factory=list)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        self._ask(prefix)
        return self.store.list(prefix)

    def get(self, key: str, *, most: int = MOST_RECORD) -> bytes:
        self._ask(key)
        return self.store.get(key, most=most)

    def _ask(self, key: str) -> None:
        if key.startswith(self.away):
            raise StoreUnavailable("the store could not do it now", on=key)
        self.asked.append(key)


def through(site: Site, **settings: str) -> tuple[Site, list[str]]:
    counting = Asked(site.store, **settings)
    return dataclasses.replace(site, store=counting), counting.asked  # type: ignore[arg-type] -- it only reads


def test_a_request_that_failed_for_one_shard_is_a_matter_of_that_shard(place: Place) -> None:
    site = place("a", "b")
    made.in_order(site.store, "a")
    broken, _ = through(site, away="b/")
    assert [card.health for card in look_over(broken).cards] == ["good", "unknown"]


def test_a_log_is_read_at_one_look_and_never_again(place: Place) -> None:
    site = place("a")
    made.in_order(site.store, "a")
    first, asked = through(site)
    seen = look_over(first)
    few = len(asked)
    for number in range(3, 30):
        made.segment(site.store, "a", number, commit_age=1)
    again, asked = through(site)
    seen = look_over(again, seen)
    assert only(seen).segments == 29
    assert sum("segments/" in key and key.endswith(".json") for key in asked) == 27, asked
    again, asked = through(site)
    assert only(look_over(again, seen)).segments == 29
    assert len(asked) == few - 2 == 7, asked
    assert not any("manifest.json" in key for key in asked), "an earlier look knows the full backup"


def test_of_more_logs_than_are_read_at_one_look_the_rest_is_estimated_until_the_next(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relight.overview.holdings._MOST_READ", 3)
    site = place("a")
    made.snapshot(site.store, "a", age=HOUR)
    for number in range(1, 9):
        made.segment(site.store, "a", number, commit_age=60, expansion=number)
    exact = 100 * sum(range(1, 9))
    seen, found = None, []
    for _ in range(4):
        seen = look_over(site, seen)
        found.append(only(seen).log_bytes)
        assert only(seen).segments == 8
    assert found[0] == 100 * (1 + 2 + 3) + 5 * 100 * 8
    assert found[2:] == [exact, exact]


def test_logs_that_are_gone_since_are_counted_no_more(place: Place) -> None:
    site = place("a")
    made.snapshot(site.store, "a", age=HOUR)
    logs = [made.segment(site.store, "a", number, commit_age=60, expansion=number) for number in (1, 2, 3)]
    seen = look_over(site)
    forget(site, logs[1].key.removesuffix(".zst"))
    for _ in range(2):
        seen = look_over(site, seen)
    assert (only(seen).segments, only(seen).log_bytes) == (2, 400)
