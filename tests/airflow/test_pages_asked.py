"""What is asked of the pages: by their forms, in a real Chromium, and by addresses that make no sense."""

from __future__ import annotations

import contextlib
import re
import socketserver
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from threading import enumerate as enumerate_threads
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from sqlalchemy import text

from relight.credentials import EnvironmentCredentials
from relight.fleet import Fleet, StoreSettings
from relight.forecast.words import duration
from relight.lab.ports import free_ports
from relight.lab.s3 import S3Server
from relight.overview import keeping
from relight.overview.looking import look_over
from relight.progress import Silent
from relight.site import Site
from relight.store.base import Store
from relight.store.s3 import open_store
from relight_airflow.fleet_request import read_fleet_request
from relight_airflow.pages.answering import Answering
from relight_airflow.request import read_request
from tests.airflow.fleets import fleet
from tests.support.browsing import Visit, browser, token, visit
from tests.support.dialogs import PASSWORD, USER, Desk, connection, desk
from tests.support.made_backups import backed_up, rehearsed
from tests.support.made_overview import made_overview

pytestmark = pytest.mark.timeout(600)

SHARDS = ("shop-1", "shop-2", "shop-3")
ABSURD = (
    "", " ", "\x00", "shop-9", "../../etc/passwd", "%", "'\"<b>", "é\u202e", "-1", "1e999", "9" * 5000, "x" * 20000, "null",
    "time:0001-01-01T00:00:00+14:00", "[]", "\ud800",
)  # fmt: skip
TIMES = ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z")
UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
ASKED: dict[str, dict[str, tuple[str, ...]]] = {
    "fleet/now": {"x": ABSURD}, "fleet": {"health": ABSURD, "sort": ABSURD}, "incident": {"x": ABSURD}, "rehearsals": {"shard": ABSURD},
    "start": {"shard": ABSURD, "target_kind": ABSURD}, "start/reach": {"shard": ABSURD},
    "start/plan?shard=shop-1": {
        "shard": ABSURD, "target_kind": ABSURD, "mode": ABSURD, "more": ABSURD, "skip_gtids": (*ABSURD, f"{UUID}:1-9223372036854775807"),
        "timeline": ABSURD, "salvage": ABSURD, "approval_reason": ABSURD,
    },
    "start/plan?shard=shop-1&target_kind=time": {"target_value": (*ABSURD, *TIMES)},
    "start/plan?shard=shop-1&target_kind=gtid": {"target_value": (*ABSURD, f"{UUID}:{9 * 10**30}", f"{UUID}:0")},
    "start/plan?shard=shop-1&target_kind=before": {"target_value": (*ABSURD, f"{UUID}:{'9' * 5000}")},
    "start/plan?shard=shop-1&target_kind=position": {"target_value": (*ABSURD, f"binlog.000003:{'9' * 5000}", "a:99999999999999999999")},
}  # fmt: skip
RUNS = (
    "run/{}/x",
    "run/restore/{}",
    "run/restore/{}/data",
    "run/restore/{}/certificate",
    "report/restore/{}",
    "report/{}/x",
)


@pytest.fixture(scope="module")
def settings(s3_server: S3Server) -> StoreSettings:
    return StoreSettings(bucket=s3_server.bucket, prefix="asked", endpoint=s3_server.endpoint, part_size_mib=5)


@pytest.fixture(scope="module")
def known(settings: StoreSettings) -> Fleet:
    """A fleet whose servers have addresses of their own, where nobody answers."""
    here = fleet(*SHARDS, replicas=0)
    ports = free_ports(len(SHARDS))
    shards = tuple(
        one.model_copy(update={"source": one.source.model_copy(update={"port": port})})
        for one, port in zip(here.shards, ports, strict=True)
    )
    return here.model_copy(update={"store": settings, "shards": shards})


@pytest.fixture(scope="module")
def store(s3_server: S3Server, settings: StoreSettings) -> Store:
    return open_store(settings, s3_server.login)


@pytest.fixture(scope="module")
def airflow(watched: Path, s3_server: S3Server, known: Fleet, store: Store) -> Iterator[Desk]:
    now = datetime.now(UTC)
    keeping.keep(store, made_overview(list(SHARDS), now - timedelta(minutes=3)))
    for name in ("shop-1", "shop-3"):
        backed_up(store, name, now)
    rehearsed(store, "shop-1", now)
    with desk(watched / "asked", known, AIRFLOW_CONN_RELIGHT_STORE=connection(s3_server.login)) as made:
        yield made


@pytest.fixture(scope="module")
def http(airflow: Desk) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {token(airflow.url, USER, PASSWORD)}"}
    with httpx.Client(base_url=f"{airflow.url}/relight/", headers=headers, timeout=120) as made:
        yield made


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as made:
        yield made


@contextmanager
def restore_page(chromium: Browser, airflow: Desk, *shards: str) -> Iterator[Visit]:
    asked = "&".join(f"shard={name}" for name in shards)
    with visit(chromium, airflow.url, f"/relight/start?{asked}", token(airflow.url, USER, PASSWORD)) as opened:
        expect(opened.page.locator(".plan")).to_have_count(len(shards))
        yield opened


def started(airflow: Desk, page: Page, dag_id: str) -> tuple[str, dict[str, Any]]:
    """Press the button; gives the run that was made and its conf."""
    before = airflow.runs(dag_id)
    wanted = page.locator("#wanted").text_content() or ""
    expect(page.locator("#confirm")).to_be_visible()
    page.locator("#confirm").fill(wanted)
    expect(page.locator("#go")).to_be_enabled()
    page.locator("#go").click()
    page.wait_for_url(re.compile("/relight/(run|incident)"), timeout=30000)
    (made,) = set(airflow.runs(dag_id)) - set(before)
    return made, airflow.runs(dag_id)[made]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("latest", ""), ("time", "AN HOUR AGO"), ("before", f"{UUID}:2950"), ("gtid", f"{UUID}:2950"),
        ("position", "binlog.000029:4711"),
    ],
    ids=lambda value: value if value.isalpha() and value.islower() else "",
)  # fmt: skip
def test_the_restore_page_starts_a_restore_to_each_kind_of_target_and_goes_to_its_run(
    chromium: Browser, airflow: Desk, kind: str, value: str
) -> None:
    value = (datetime.now(UTC) - timedelta(hours=1)).isoformat() if value == "AN HOUR AGO" else value
    with restore_page(chromium, airflow, "shop-1") as opened:
        page = opened.page
        page.locator(f"input[name=target_kind][value={kind}]").check()
        if value:
            page.locator("#target_value").fill(value)
        expect(page.locator(".plan")).to_contain_text("Comes back as it was at", timeout=30000)
        run_id, conf = started(airflow, page, "restore")
        assert page.url.endswith(f"/relight/run/restore/{quote(run_id)}")
        expect(page.locator("h1")).to_contain_text("shop-1")
        assert not opened.said
    run = read_request(fleet(*SHARDS), run_id="r", params=conf)
    assert run.target.kind == kind


def test_the_restore_page_can_say_all_that_the_form_of_the_dag_can(chromium: Browser, airflow: Desk) -> None:
    with restore_page(chromium, airflow, "shop-1") as opened:
        page = opened.page
        page.locator("#incident").fill("INC 7")
        page.get_by_text("Exceptions", exact=True).click()
        page.locator("#skip_gtids").fill(f"{UUID}:2999")
        page.locator("#timeline").fill("0")
        page.locator("#salvage").uncheck()
        page.locator("#approval_reason").fill("seen by eye")
        expect(page.locator("#confirming")).to_be_visible(timeout=30000)
        page.wait_for_timeout(1000)  # for the plan that the last word makes
        expect(page.locator("#confirming")).to_be_visible(timeout=30000)
        opened.assert_fit()
        run_id, conf = started(airflow, page, "restore")
    form = set(airflow.client.send("GET", "/api/v2/dags/restore/details")["params"])
    assert form - set(conf) <= {"fleet_run", "approved_by"}, "by whom it is approved Airflow knows"
    run = read_request(fleet(*SHARDS), run_id="r", params=conf, requested_by=USER)
    assert run_id == "INC-7__shop-1"
    assert (str(run.skip), run.timeline, run.salvage, run.approval_reason) == (f"{UUID}:2999", 0, False, "seen by eye")
    with restore_page(chromium, airflow, "shop-1") as opened:
        opened.page.locator("#incident").fill("INC 7")
        opened.page.locator("#confirm").fill("shop-1")
        expect(opened.page.locator("#go")).to_be_enabled()
        opened.page.locator("#go").click()
        expect(opened.page.locator("#outcome")).to_contain_text("The incident has this restore already")
        opened.page.locator("#outcome a").click()
        opened.page.wait_for_url("**/relight/run/restore/INC-7__shop-1")


def test_what_belongs_to_one_shard_is_not_said_of_several(chromium: Browser, airflow: Desk) -> None:
    with restore_page(chromium, airflow, "shop-1") as opened:
        page = opened.page
        page.get_by_text("Exceptions", exact=True).click()
        page.locator("#skip_gtids").fill(f"{UUID}:2999")
        page.locator("#incident").fill("INC 8")
        page.locator("#salvage").uncheck()
        page.locator("#approval_reason").fill("seen by eye")
        page.get_by_role("checkbox", name=re.compile("^shop-2")).check()
        expect(page.locator(".plan")).to_have_count(2)
        expect(page.locator("#skip_gtids")).to_be_hidden()
        expect(page.locator("#go")).to_be_disabled()
        page.get_by_role("checkbox", name=re.compile("^shop-3")).check()
        page.get_by_role("checkbox", name=re.compile("^shop-2")).uncheck()
        expect(page.locator("#confirming")).to_be_visible()
        run_id, conf = started(airflow, page, "restore_fleet")
    asked = read_fleet_request(fleet(*SHARDS), conf, requested_by=USER)
    assert (run_id, asked.wanted.names, asked.salvage) == ("INC-8", ("shop-1", "shop-3"), False)
    assert (asked.approved_by, asked.approval_reason) == (USER, "seen by eye")


def test_the_restore_page_foresees_what_the_overview_foresees(http: httpx.Client, store: Store) -> None:
    here = fleet("shop-1")
    site = Site(here, store, EnvironmentCredentials({}), Silent())
    (card,) = look_over(site).cards
    assert card.forecast
    html = http.get("start/plan?shard=shop-1").json()["html"]
    assert f"<b>{duration(card.forecast.seconds)}</b>" in html


def test_a_run_that_waits_for_its_dag_says_so_and_lets_it_go_on(chromium: Browser, airflow: Desk) -> None:
    with restore_page(chromium, airflow, "shop-1") as opened:
        page = opened.page
        started(airflow, page, "restore")
        expect(page.get_by_text("is paused")).to_be_visible()
        page.get_by_role("button", name="Unpause it").click()
        expect(page.get_by_text("is paused")).to_have_count(0)
    airflow.client.send("PATCH", "/api/v2/dags/restore", {"is_paused": True})


@contextmanager
def answering(*addresses: tuple[str, int]) -> Iterator[None]:
    """Something that greets whoever connects, as a server does."""

    class Greeting(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"J")

    class Listening(socketserver.ThreadingTCPServer):
        allow_reuse_address = True

    with contextlib.ExitStack() as stack:
        for address in addresses:
            server = stack.enter_context(Listening(address, Greeting))
            Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
        yield


def test_the_fleet_shows_what_goes_down_and_what_is_being_restored(
    chromium: Browser, airflow: Desk, known: Fleet
) -> None:
    end_all(airflow)
    servers = [(one.source.host, one.source.port) for one in known.shards]
    with visit(chromium, airflow.url, "/relight/fleet", token(airflow.url, USER, PASSWORD)) as opened:
        page = opened.page
        page.evaluate("document.getElementById('fleet').dataset.every = 1")

        def row(name: str) -> Locator:
            return page.locator(f"tr[data-s={name}]")

        with answering(*servers):
            expect(page.locator("#fleet")).to_have_attribute("data-looks", re.compile(r"\d"), timeout=30000)
            page.wait_for_timeout(12000)  # they are asked every ten seconds
            expect(page.locator("[data-h=down]")).to_have_count(0)
        expect(page.locator("tr[data-h=down]")).to_have_count(3, timeout=40000)
        expect(row("shop-2").locator(".c-state")).to_contain_text("down")
        expect(page.get_by_role("button", name=re.compile("3 .*down"))).to_be_visible()
        asked = time.monotonic()
        body = {"logical_date": None, "dag_run_id": "INC-9__shop-2", "conf": {"shard": "shop-2"}}
        airflow.client.send("POST", "/api/v2/dags/restore/dagRuns", body)
        expect(row("shop-2").locator(".c-state")).to_contain_text("being restored", timeout=30000)
        print(f"shown after {time.monotonic() - asked:.1f} s")
        page.reload()
        expect(row("shop-2")).to_have_attribute("data-h", "restoring")
        expect(row("shop-1")).to_have_attribute("data-h", "down")
        opened.assert_fit()
        row("shop-1").get_by_role("link", name="bring it back").click()
        expect(page.locator("input[value=shop-1]")).to_be_checked()
        page.go_back()
        row("shop-2").get_by_role("link", name="its run").click()
        expect(page.locator("h1")).to_contain_text("shop-2")
        page.go_back()
        end_all(airflow)
        page.reload()
        expect(row("shop-2")).to_have_attribute("data-h", "down")
        with answering(*servers):
            page.evaluate("document.getElementById('fleet').dataset.every = 1")
            expect(row("shop-2")).not_to_have_attribute("data-h", "down", timeout=40000)


def end_all(airflow: Desk) -> None:
    with airflow.database.begin() as db:
        db.execute(text("UPDATE dag_run SET state = 'failed'"))


def test_the_fleet_waits_for_no_server_that_does_not_answer(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Answering()
    slow = Event()
    monkeypatch.setattr("relight_airflow.pages.answering.down_among", lambda shards: slow.wait(60) and list(shards))
    for _ in range(3):
        assert asked.down(fleet(*SHARDS)) is None
    assert sum(thread.name == "relight-answering" for thread in enumerate_threads()) == 1
    slow.set()
    for thread in [one for one in enumerate_threads() if one.name == "relight-answering"]:
        thread.join()


def test_as_long_as_no_server_was_ever_reached_from_here_none_is_called_down(monkeypatch: pytest.MonkeyPatch) -> None:
    here, asked, up = fleet(*SHARDS), Answering(), False
    monkeypatch.setattr(
        "relight_airflow.pages.answering.down_among", lambda shards: list(shards)[1:] if up else list(shards)
    )

    def looked() -> Collection[str] | None:
        monkeypatch.setattr("relight_airflow.pages.answering._AGAIN", 0)
        asked.down(here)
        for thread in [one for one in enumerate_threads() if one.name == "relight-answering"]:
            thread.join()
        monkeypatch.setattr("relight_airflow.pages.answering._AGAIN", 1e9)
        return asked.down(here)

    assert looked() is None
    up = True
    assert looked() == {"shop-2", "shop-3"}
    up = False
    assert looked() == set(SHARDS)


def in_address(value: str) -> str:
    return quote(value, safe="", errors="surrogatepass")


@pytest.mark.parametrize("path", ASKED)
def test_no_question_breaks_a_page(http: httpx.Client, path: str) -> None:
    broken = []
    for name, values in ASKED[path].items():
        for value in values:
            asked = f"{path}{'&' if '?' in path else '?'}{name}={in_address(value)}"
            for accept in ("text/html", "application/json"):
                answer = http.get(asked, headers={"Accept": accept})
                if answer.status_code >= 500:
                    broken.append((asked[:120], accept, answer.status_code, answer.text[:200]))
    assert not broken


@pytest.mark.parametrize("path", RUNS)
def test_a_run_that_is_none_is_not_there_in_words(http: httpx.Client, path: str) -> None:
    for value in (one for one in ABSURD if one.strip()):
        answer = http.get(path.format(in_address(value)), headers={"Accept": "text/html"})
        assert answer.status_code in (403, 404), (value[:40], answer.status_code, answer.text[:300])
        assert "<h1>" in answer.text or answer.status_code == 404


def test_the_rehearsals_of_a_shard_that_is_none_are_refused_with_those_there_are(http: httpx.Client) -> None:
    answer = http.get("rehearsals?shard=shop-9", headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert "shop-9" in answer.text
    assert "shop-1, shop-2, shop-3" in answer.text


def test_the_restore_page_says_that_a_shard_of_its_address_is_none(http: httpx.Client) -> None:
    answer = http.get("start?shard=shop-9", headers={"Accept": "text/html"})
    assert "unknown shard" in answer.text
    assert "shop-9" in answer.text


@pytest.mark.parametrize("value", TIMES[:2])
def test_a_time_that_is_none_in_utc_is_refused_in_words(http: httpx.Client, value: str) -> None:
    asked = {"shard": "shop-1", "target_kind": "time", "target_value": value}
    told = http.get("start/plan", params=asked).json()
    assert not told["possible"]
    assert "outside of the years" in told["html"]
