"""A store, or the line to it, that answers wrongly: once, which must not be noticed, and always, which must be said."""

from __future__ import annotations

import hashlib
import io
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from relight.errors import ObjectCorrupt, ObjectExists, StoreError, StoreUnavailable
from relight.fleet import StoreSettings
from relight.lab.s3 import S3Server
from relight.store.multipart import CHUNK
from relight.store.s3 import S3Store, open_store
from tests.support.meddling import Answer, Request, error, meddling

Wrong = Callable[[Request, Callable[[], Answer]], Answer]
Way = Callable[..., "contextmanager[S3Store]"]

ALWAYS = 10**9
BIG = os.urandom(5 * 2**20 + 77)
LARGE = os.urandom(CHUNK + 12345)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits as often as otherwise, and less long."""
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.01)))
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.01)


@pytest.fixture
def store(store_settings: StoreSettings, s3_server: S3Server) -> S3Store:
    """The same store, without anybody between."""
    return open_store(store_settings, s3_server.login)


@pytest.fixture
def through(store_settings: StoreSettings, s3_server: S3Server) -> Callable[..., object]:
    """``with through(of, wrong, times) as store``: requests that ``of`` picks are answered by ``wrong``, so many."""

    @contextmanager
    def opened(of: Callable[[Request], bool], wrong: Wrong, times: int) -> Iterator[S3Store]:
        lock, left = threading.Lock(), [times]

        def meddle(request: Request, ask: Callable[[], Answer]) -> Answer:
            with lock:
                mine = left[0] > 0 and of(request)
                left[0] -= mine
            return wrong(request, ask) if mine else ask()

        with meddling(s3_server.endpoint, meddle) as endpoint:
            yield open_store(store_settings.model_copy(update={"endpoint": endpoint}), s3_server.login)

    return opened


def is_get(request: Request) -> bool:
    return request.is_get


def flips(request: Request, ask: Callable[[], Answer]) -> Answer:
    return ask().flipped(100)


def test_a_byte_that_is_wrong_once_is_fetched_again(store: S3Store, through: Way, tmp_path: Path) -> None:
    store.put("small", BIG)
    with through(is_get, flips, 1) as meddled:
        assert meddled.get("small") == BIG
    with through(is_get, flips, 2) as meddled:
        meddled.fetch("small", tmp_path / "copy", size=len(BIG), sha256=sha256(BIG))
    assert (tmp_path / "copy").read_bytes() == BIG


def test_a_byte_that_is_wrong_every_time_is_called_damage(store: S3Store, through: Way, tmp_path: Path) -> None:
    store.put("small", BIG)
    with through(is_get, flips, ALWAYS) as meddled:
        with pytest.raises(ObjectCorrupt, match="small"):
            meddled.get("small")
        with pytest.raises(ObjectCorrupt, match="small"):
            meddled.fetch("small", tmp_path / "copy", size=len(BIG), sha256=sha256(BIG))
    assert list(tmp_path.iterdir()) == []


WRITES: dict[str, tuple[Callable[[Request], bool], bytes]] = {
    "put": (lambda request: request.is_put, b"mine"), "complete": (lambda request: request.is_complete, LARGE),
}  # fmt: skip
REFUSALS = {
    "409": error(409, "ConditionalRequestConflict"), "409 aborted": error(409, "OperationAborted"),
    "412": error(412, "PreconditionFailed"), "503": error(503, "SlowDown"), "500": error(500, "InternalError"),
}  # fmt: skip


def write(store: S3Store, data: bytes) -> None:
    store.put_stream("new", io.BytesIO(data))


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("kind", WRITES)
def test_a_conditional_write_that_is_refused_once_with_nothing_there_is_tried_again(
    store: S3Store, through: Way, kind: str, refusal: str
) -> None:
    of, data = WRITES[kind]
    with through(of, lambda _request, _ask: REFUSALS[refusal], 1) as meddled:
        write(meddled, data)
    assert store.get("new") == data


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("kind", WRITES)
def test_a_conditional_write_that_is_always_refused_with_nothing_there_is_the_store_s_fault(
    store: S3Store, through: Way, kind: str, refusal: str
) -> None:
    of, data = WRITES[kind]
    with (
        through(of, lambda _request, _ask: REFUSALS[refusal], ALWAYS) as meddled,
        pytest.raises(StoreUnavailable, match="new"),
    ):
        write(meddled, data)
    assert list(store.list("")) == []


@pytest.mark.parametrize("refusal", ["409", "412"])
@pytest.mark.parametrize("kind", WRITES)
def test_a_write_that_was_carried_out_although_it_was_refused_counts_as_won(
    store: S3Store, through: Way, kind: str, refusal: str
) -> None:
    of, data = WRITES[kind]

    def carried_out(_request: Request, ask: Callable[[], Answer]) -> Answer:
        assert ask().status == 200
        return REFUSALS[refusal]

    with through(of, carried_out, 1) as meddled:
        write(meddled, data)
    assert store.get("new") == data


@pytest.mark.parametrize("kind", WRITES)
def test_another_s_object_is_never_taken_for_one_s_own(store: S3Store, through: Way, kind: str) -> None:
    of, data = WRITES[kind]
    store.put("new", b"theirs")
    with through(of, lambda _request, _ask: REFUSALS["409"], 2) as meddled, pytest.raises(ObjectExists):
        write(meddled, data)
    assert store.get("new") == b"theirs"


def test_an_upload_that_fails_inside_an_answer_of_success_is_sent_again(store: S3Store, through: Way) -> None:
    failed = replace(error(500, "InternalError"), status=200)
    with through(lambda request: request.is_complete, lambda _request, _ask: failed, 1) as meddled:
        write(meddled, LARGE)
    assert store.get("new") == LARGE


def test_an_upload_that_always_fails_inside_an_answer_of_success_is_no_success(store: S3Store, through: Way) -> None:
    failed = replace(error(500, "InternalError"), status=200)
    with (
        through(lambda request: request.is_complete, lambda _request, _ask: failed, ALWAYS) as meddled,
        pytest.raises(StoreUnavailable),
    ):
        write(meddled, LARGE)
    assert list(store.list("")) == []


@pytest.mark.parametrize("reset", [False, True])
def test_a_line_that_is_cut_every_300_kib_still_carries_an_object(store: S3Store, through: Way, reset: bool) -> None:
    store.put("big", BIG)
    cuts = []

    def cut(_request: Request, ask: Callable[[], Answer]) -> Answer:
        cuts.append(1)
        return replace(ask(), hang_up_after=300 * 2**10, reset=reset)

    with through(is_get, cut, ALWAYS) as meddled:
        assert b"".join(meddled.stream("big", size=len(BIG), sha256=sha256(BIG))) == BIG
    least = len(BIG) // (300 * 2**10) + 1
    assert least <= len(cuts) <= 2 * least  # of what was sent just before a reset, some never arrives


def test_a_line_that_carries_nothing_is_given_up(store: S3Store, through: Way) -> None:
    store.put("big", BIG)
    with (
        through(is_get, lambda _request, ask: replace(ask(), hang_up_after=0), ALWAYS) as meddled,
        pytest.raises(StoreUnavailable),
    ):
        list(meddled.stream("big", size=len(BIG), sha256=sha256(BIG)))


def test_a_server_that_cannot_begin_in_the_middle_begins_anew(store: S3Store, through: Way) -> None:
    store.put("big", BIG)
    asked = []

    def whole(request: Request, ask: Callable[[], Answer]) -> Answer:
        asked.append(request.headers.get("Range"))
        answer = ask()
        if answer.status == 206:
            headers = {**answer.without("content-range").headers, "Content-Length": str(len(BIG))}
            return Answer(200, headers, BIG)
        return replace(answer, hang_up_after=2 * 2**20)

    with through(is_get, whole, ALWAYS) as meddled:
        assert b"".join(meddled.stream("big", size=len(BIG), sha256=sha256(BIG))) == BIG
    assert len(asked) == 2


def test_an_object_that_is_replaced_while_it_is_read_is_never_mixed(store: S3Store, through: Way) -> None:
    store.put("big", BIG)
    numbers = iter(range(100))

    def another(_request: Request, ask: Callable[[], Answer]) -> Answer:
        answer = ask()
        headers = {**answer.without("etag").headers, "ETag": f'"{next(numbers):032x}"'}
        return replace(answer, headers=headers, hang_up_after=2 * 2**20)

    with through(is_get, another, ALWAYS) as meddled, pytest.raises(ObjectCorrupt, match="replaced"):
        meddled.get("big")


@pytest.mark.parametrize("length", [len(BIG) // 2, 2 * len(BIG)])
def test_a_length_that_lies_is_noticed(store: S3Store, through: Way, length: int) -> None:
    store.put("big", BIG)

    def lies(request: Request, ask: Callable[[], Answer]) -> Answer:
        answer = ask()
        if answer.status != 200:
            return answer
        return replace(answer, headers={**answer.without("content-length").headers, "Content-Length": str(length)},
                       body=(answer.body + b"x")[:length], hang_up_after=min(len(BIG), length))  # fmt: skip

    with through(is_get, lies, 1) as meddled:
        assert meddled.get("big") == BIG
    with through(is_get, lies, ALWAYS) as meddled, pytest.raises(StoreError, match="big"):
        meddled.get("big")
    with through(is_get, lies, ALWAYS) as meddled, pytest.raises(StoreError, match="big"):
        list(meddled.stream("big", size=len(BIG), sha256=sha256(BIG)))


def test_a_store_that_does_not_say_how_much_comes_is_read_to_the_end(store: S3Store, through: Way) -> None:
    store.put("big", BIG)
    with through(is_get, lambda _request, ask: ask().without("content-length"), ALWAYS) as meddled:
        assert meddled.get("big") == BIG


def test_a_small_object_of_ten_gigabytes_is_refused_before_it_is_read(store: S3Store, through: Way) -> None:
    store.put("big", BIG)
    sent = []

    def huge(_request: Request, ask: Callable[[], Answer]) -> Answer:
        sent.append(1)
        return replace(ask(), headers={"Content-Length": str(10 * 2**30)})

    with through(is_get, huge, ALWAYS) as meddled, pytest.raises(ObjectCorrupt, match="more than"):
        meddled.get("big")
    with pytest.raises(ObjectCorrupt, match="more than 1000 bytes"):
        store.get("big", most=1000)
    unsaid = is_get, lambda _request, ask: ask().without("content-length"), ALWAYS
    with through(*unsaid) as meddled, pytest.raises(ObjectCorrupt, match="more than 1000 bytes"):
        meddled.get("big", most=1000)


def test_a_burst_of_slow_downs_is_sat_out(store: S3Store, through: Way) -> None:
    store.put("big", BIG)
    for call in (
        lambda one: one.get("big"), lambda one: list(one.list("")), lambda one: one.put("more", b"x"),
        lambda one: write(one, LARGE),
    ):  # fmt: skip
        with through(lambda _request: True, lambda _request, _ask: error(503, "SlowDown"), 7) as meddled:
            call(meddled)


def unfinished(_request: Request, ask: Callable[[], Answer]) -> Answer:
    body = re.sub(rb"<NextContinuationToken>.*?</NextContinuationToken>", b"", ask().body)
    body = body.replace(b"<IsTruncated>false", b"<IsTruncated>true")
    return Answer(200, {"Content-Type": "application/xml", "Content-Length": str(len(body))}, body)


def repeated(_request: Request, ask: Callable[[], Answer]) -> Answer:
    body = unfinished(_request, ask).body
    body = body.replace(b"</ListBucketResult>", b"<NextContinuationToken>x</NextContinuationToken></ListBucketResult>")
    return Answer(200, {"Content-Type": "application/xml", "Content-Length": str(len(body))}, body)


def cut_xml(_request: Request, ask: Callable[[], Answer]) -> Answer:
    body = ask().body
    body = body[: 2 * len(body) // 3]
    return Answer(200, {"Content-Type": "application/xml", "Content-Length": str(len(body))}, body)


def html(_request: Request, _ask: Callable[[], Answer]) -> Answer:
    body = b"<html><body>We will be back soon.</body>"
    return Answer(200, {"Content-Type": "text/html", "Content-Length": str(len(body))}, body)


def nameless(_request: Request, ask: Callable[[], Answer]) -> Answer:
    body = re.sub(rb"<Size>.*?</Size>", b"", ask().body, count=1)
    return Answer(200, {"Content-Type": "application/xml", "Content-Length": str(len(body))}, body)


LISTINGS = {"without a token": unfinished, "cut": cut_xml, "a web page": html, "without a size": nameless}


@pytest.mark.parametrize("what", LISTINGS)
def test_a_listing_that_breaks_off_is_never_taken_for_all_there_is(store: S3Store, through: Way, what: str) -> None:
    for number in range(3):
        store.put(f"k{number}", b"x")
    with through(lambda request: request.is_list, LISTINGS[what], 1) as meddled:
        assert len(list(meddled.list(""))) == 3
    with through(lambda request: request.is_list, LISTINGS[what], ALWAYS) as meddled, pytest.raises(StoreUnavailable):
        list(meddled.list(""))


def test_a_listing_that_goes_round_in_circles_ends(store: S3Store, through: Way) -> None:
    store.put("k", b"x")
    with through(lambda request: request.is_list, repeated, ALWAYS) as meddled, pytest.raises(StoreUnavailable):
        list(meddled.list(""))


def test_a_listing_of_something_else_is_refused(store: S3Store, through: Way) -> None:
    store.put("k", b"x")

    def other(_request: Request, ask: Callable[[], Answer]) -> Answer:
        body = re.sub(rb"<Key>.*?</Key>", b"<Key>../../etc/passwd</Key>", ask().body)
        return Answer(200, {"Content-Type": "application/xml", "Content-Length": str(len(body))}, body)

    with (
        through(lambda request: request.is_list, other, ALWAYS) as meddled,
        pytest.raises(StoreError, match="not asked for"),
    ):
        list(meddled.list(""))


@pytest.mark.parametrize("of", ["part", "HEAD"])
def test_a_store_that_gives_no_etag_is_told_so(store: S3Store, through: Way, of: str) -> None:
    picks = {"part": lambda request: request.is_part, "HEAD": lambda request: request.method == "HEAD"}
    with (
        through(picks[of], lambda _request, ask: ask().without("etag"), ALWAYS) as meddled,
        pytest.raises(StoreError, match="ETag"),
    ):
        write(meddled, LARGE)
