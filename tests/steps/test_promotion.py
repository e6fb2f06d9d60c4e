"""A promotion that is killed anywhere ends right when it is run again, and never makes a second writer."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from relight.announcing.settings import FileAnnounce
from relight.certificate.document import SignedCertificate
from relight.errors import CertificateRefused, ClaimRefused, PromotionRefused
from relight.fencing.epochs import Claim, claim, give_up, load_epochs, newest, win
from relight.fleet import Shard, Tier
from relight.recover import recover
from relight.run_files import certificate_path
from relight.server.table_checksums import checksums
from relight.site import Site
from relight.steps import prepare as preparing
from relight.steps import promote as promoting
from relight.steps.announce import announce
from relight.steps.certify import certify
from relight.steps.fence_check import check_fence
from relight.steps.prepare import prepare
from relight.steps.promote import promote
from tests.support.promoting import Proved, assert_history, lose_and_prove
from tests.support.servers import Servers, kill


@pytest.fixture
def proved(servers: Servers, site: Callable[..., Site]) -> Proved:
    return lose_and_prove(servers, site)


class Killed(BaseException):
    """The process is gone."""


@contextlib.contextmanager
def dying_behind(module: ModuleType, step: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process ends as soon as a function of the module has done its work; the function is reached."""
    real = getattr(module, step)

    def dying(*args: Any, **kwargs: Any) -> None:
        real(*args, **kwargs)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(module, step, dying)
        with pytest.raises(Killed):
            yield


STEPS = (
    (preparing, "check_certificate"), (preparing, "refuse_second_writer"), (preparing, "claim"),
    (preparing, "_set_history"), (preparing, "_check_closed_and_durable"), (preparing, "_make_durable"),
    (preparing, "write_mark"), (promoting, "_claimed"), (promoting, "refuse_second_writer"), (promoting, "win"),
    (promoting, "write_mark"), (promoting, "_open"), (promoting, "shut_out"),
)  # fmt: skip


@pytest.mark.parametrize(("module", "step"), STEPS)
def test_a_promotion_killed_behind_any_step_is_finished_by_running_the_restore_again(
    servers: Servers, site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch, module: ModuleType, step: str
) -> None:
    proved = lose_and_prove(servers, site, replicas=0)
    with dying_behind(module, step, monkeypatch):
        proved.promote()
    last = newest(proved.site.store, "shard-1")
    decided = last is not None and last.outcome is not None
    assert decided or not proved.is_open(), "open before its epoch was won"
    assert recover(proved.site, proved.run).outcome == "done"
    assert proved.is_open()
    (epoch,) = load_epochs(proved.site.store, "shard-1")
    assert epoch.outcome is not None
    with proved.servers.connect(proved.source) as session:
        assert (epoch.outcome.kind, epoch.outcome.epoch) == ("opened", 1)
        assert epoch.outcome.server_uuid == session.value("SELECT @@server_uuid")
        assert checksums(session) == proved.sums
        assert_history(session, proved.gtids)
        assert session.rows("SELECT * FROM performance_schema.persisted_variables") == []


def test_a_replica_that_somebody_has_opened_meanwhile_is_not_given_a_second_source(proved: Proved) -> None:
    from relight.server import mysqld

    with mysqld.start(proved.replicas[0], proved.servers.admin) as session:
        session.run("STOP REPLICA")
        session.run("SET GLOBAL super_read_only = OFF")
        session.run("SET GLOBAL read_only = OFF")
        with pytest.raises(PromotionRefused, match=r"source-replica-1 is alive and takes writes"):
            proved.promote()
        assert not proved.is_open()
        assert load_epochs(proved.site.store, "shard-1") == [], "a refused promotion claims nothing"
        session.run("SET GLOBAL super_read_only = ON")
        proved.promote()
    assert proved.is_open()


def other_run(site: Site, *, opened: bool) -> None:
    wanted = Claim(
        shard="shard-1", epoch=0, run_id="run-2", server="elsewhere", host="127.0.0.1", port=1, machine="m", who="Bob",
        why="a test", at=datetime.now(UTC),
    )  # fmt: skip
    mine = claim(site.store, wanted)
    if opened:
        win(site.store, mine, server_uuid="another", who="Bob", why="")


def test_while_another_run_has_the_shard_the_server_stays_closed(proved: Proved) -> None:
    other_run(proved.site, opened=False)
    with pytest.raises(ClaimRefused, match="Bob for run run-2"):
        proved.promote()
    assert not proved.is_open()


def test_a_run_that_loses_its_claim_on_the_way_stays_closed(proved: Proved, monkeypatch: pytest.MonkeyPatch) -> None:
    real = preparing._make_durable

    def meanwhile(*args: Any) -> Any:
        give_up(proved.site.store, "shard-1", 1, who="Bob", why="it hangs")
        other_run(proved.site, opened=False)
        return real(*args)

    monkeypatch.setattr(preparing, "_make_durable", meanwhile)
    with pytest.raises(ClaimRefused, match="has lost its claim"):
        proved.promote()
    assert not proved.is_open()


def test_a_claim_that_is_given_up_between_the_two_steps_is_made_again_by_preparing_alone(proved: Proved) -> None:
    prepare(proved.site, proved.run)
    give_up(proved.site.store, "shard-1", 1, who="Bob", why="it hangs")
    with pytest.raises(ClaimRefused, match="its claim was given up by Bob: it hangs"):
        promote(proved.site, proved.run)
    assert not proved.is_open()
    assert proved.promote().epoch == 2
    assert proved.is_open()


def test_a_server_that_was_not_prepared_is_not_opened(proved: Proved) -> None:
    with pytest.raises(PromotionRefused, match="the server was not prepared"):
        promote(proved.site, proved.run)
    assert not proved.is_open()


def test_a_promoted_server_closes_itself_when_the_shard_has_moved_on_and_does_not_open_again(
    proved: Proved, tmp_path: Path
) -> None:
    told = tmp_path / "shard-1.json"
    (shard,) = proved.site.fleet.shards
    shard = Shard.model_validate(shard.model_dump() | {"announce": [FileAnnounce(kind="file", path=told)]})
    proved.site = dataclasses.replace(proved.site, fleet=proved.site.fleet.model_copy(update={"shards": (shard,)}))
    proved.promote()
    announce(proved.site, proved.run)
    assert json.loads(told.read_text())["open"]
    assert check_fence(proved.site, "shard-1").state == "current"
    assert proved.is_open()
    other_run(proved.site, opened=True)
    found = check_fence(proved.site, "shard-1")
    assert (found.state, found.epoch, found.newest) == ("closed", 1, 2)
    assert not json.loads(told.read_text())["open"], "applications are sent nowhere"
    assert not proved.is_open()
    for step in (prepare, promote):
        with pytest.raises(ClaimRefused, match="the shard has moved on"):
            step(proved.site, proved.run)
    assert not proved.is_open()


def test_a_server_that_relight_did_not_promote_is_left_alone(proved: Proved) -> None:
    assert check_fence(proved.site, "shard-1").state == "not promoted here"


def test_the_next_restore_of_the_shard_has_the_next_epoch(proved: Proved) -> None:
    proved.promote()
    kill(proved.source)
    recover(proved.site, proved.run.model_copy(update={"run_id": "run-2"}))
    assert [one.claim.epoch for one in load_epochs(proved.site.store, "shard-1")] == [1, 2]
    assert proved.is_open()


def of_a_tier(place: Site, approval: str) -> Site:
    tiers = (Tier.model_validate({"tier": 1, "approval": approval}),)
    return dataclasses.replace(place, fleet=place.fleet.model_copy(update={"tiers": tiers}))


def test_a_shard_that_always_needs_a_name_is_not_opened_without_one_and_the_certificate_keeps_it(
    proved: Proved,
) -> None:
    strict = of_a_tier(proved.site, "always")
    with pytest.raises(CertificateRefused, match="nobody has approved of it"):
        prepare(strict, proved.run)  # its certificate was signed while nobody had to
    with pytest.raises(CertificateRefused, match="nobody has approved of it"):
        certify(strict, proved.run)
    nameless = proved.run.model_copy(update={"approved_by": "Ada"})
    with pytest.raises(CertificateRefused, match="the approval has no reason"):
        certify(strict, nameless)
    assert not proved.is_open()
    assert not load_epochs(strict.store, "shard-1"), "nothing was claimed"
    approved = nameless.model_copy(update={"approval_reason": "the counts are right"})
    certify(strict, approved)
    content = certificate_path(approved.folder(strict.fleet)).read_bytes()
    found = SignedCertificate.model_validate_json(content).certificate
    assert (found.verdict, found.approved_by, found.approval_reason) == ("match", "Ada", "the counts are right")
    prepare(strict, approved)
    promote(strict, approved)
    assert proved.is_open()


def test_a_prepared_server_that_has_forgotten_its_history_is_not_opened_until_it_was_prepared_again(
    proved: Proved,
) -> None:
    """As after a crash of a server whose settings allow it to lose its last commits."""
    prepare(proved.site, proved.run)
    with proved.servers.connect(proved.source) as session:
        session.run("RESET BINARY LOGS AND GTIDS")
    with pytest.raises(PromotionRefused, match="lost a part of its history"):
        promote(proved.site, proved.run)
    assert not proved.is_open()
    proved.promote()
    assert proved.is_open()
    with proved.servers.connect(proved.source) as session:
        assert_history(session, proved.gtids)
