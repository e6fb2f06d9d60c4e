"""The store against a real S3 server, and against lines that break."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest

from relight.credentials import Login
from relight.errors import (
    FleetError,
    ObjectCorrupt,
    ObjectExists,
    ObjectMissing,
    StoreDenied,
    StoreError,
    StoreUnavailable,
)
from relight.fleet import StoreSettings
from relight.lab.s3 import S3Server
from relight.store.multipart import CHUNK, chunk_bytes
from relight.store.parallel import in_parallel
from relight.store.s3 import S3Store, open_store

CALLS: dict[str, Callable[[S3Store], object]] = {
    "list": lambda store: list(store.list("")),
    "get": lambda store: store.get("k"),
    "put": lambda store: store.put("k", b"x"),
    "put_stream": lambda store: store.put_stream("k", io.BytesIO(bytes(CHUNK))),
    "stream": lambda store: list(store.stream("k", size=1, sha256="0" * 64)),
}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def store(store_settings: StoreSettings, s3_server: S3Server) -> S3Store:
    return open_store(store_settings, s3_server.login)


@pytest.fixture
def raw(s3_server: S3Server) -> object:
    return boto3.client(
        "s3", endpoint_url=s3_server.endpoint, region_name="us-east-1", aws_access_key_id=s3_server.login.user,
        aws_secret_access_key=s3_server.login.password,
    )  # fmt: skip


def test_an_object_is_written_once_and_never_overwritten(store: S3Store) -> None:
    store.put("a/b", b"first")
    with pytest.raises(ObjectExists):
        store.put("a/b", b"second")
    with pytest.raises(ObjectExists):
        store.put_stream("a/b", io.BytesIO(b"third"))
    with pytest.raises(ObjectExists):
        store.put_stream("a/b", io.BytesIO(os.urandom(CHUNK + 1)))
    assert store.get("a/b") == b"first"


@pytest.mark.parametrize("length", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 12345])
def test_a_stream_of_any_length_arrives_whole(store: S3Store, length: int, tmp_path: Path) -> None:
    data = os.urandom(length)
    assert store.put_stream("big", io.BytesIO(data)) == (length, sha256(data))
    assert b"".join(store.stream("big", size=length, sha256=sha256(data))) == data
    store.fetch("big", tmp_path / "deep" / "copy", size=length, sha256=sha256(data))
    assert (tmp_path / "deep" / "copy").read_bytes() == data


@pytest.mark.parametrize("taken_by_a_remnant", [False, True])
def test_of_several_writers_of_a_small_object_exactly_one_wins(
    store: S3Store, store_settings: StoreSettings, raw: object, taken_by_a_remnant: bool
) -> None:
    if taken_by_a_remnant:
        raw.put_object(Bucket=store_settings.bucket, Key=f"{store_settings.prefix}/race", Body=b"")  # type: ignore[attr-defined]

    def attempt(data: bytes) -> bytes | None:
        try:
            store.put("race", data)
        except ObjectExists:
            return None
        return data

    with ThreadPoolExecutor(8) as pool:
        won = [data for data in pool.map(attempt, [b"%d" % n for n in range(8)]) if data is not None]
    assert won == [store.get("race")]


def test_large_writers_at_once_leave_one_whole_object(store: S3Store) -> None:
    contents = [os.urandom(CHUNK + 100) for _ in range(3)]

    def attempt(data: bytes) -> bool:
        try:
            store.put_stream("race", io.BytesIO(data))
        except ObjectExists:
            return False
        return True

    with ThreadPoolExecutor(3) as pool:
        assert any(pool.map(attempt, contents))
    assert store.get("race") in contents


def test_a_large_object_replaces_the_empty_remnant_of_a_broken_upload(
    store: S3Store, store_settings: StoreSettings, raw: object
) -> None:
    raw.put_object(Bucket=store_settings.bucket, Key=f"{store_settings.prefix}/big", Body=b"")  # type: ignore[attr-defined]
    data = os.urandom(CHUNK + 1)
    store.put_stream("big", io.BytesIO(data))
    assert store.get("big") == data


def test_a_source_that_fails_leaves_no_object_and_no_upload(
    store: S3Store, store_settings: StoreSettings, raw: object
) -> None:
    class Fails(io.RawIOBase):
        left = 3

        def read(self, size: int = -1, /) -> bytes:
            self.left -= 1
            if self.left < 0:
                raise OSError("the disk is gone")
            return os.urandom(CHUNK)

    with pytest.raises(OSError, match="the disk is gone"):
        store.put_stream("half", Fails())  # type: ignore[arg-type]
    assert list(store.list("")) == []
    uploads = raw.list_multipart_uploads(Bucket=store_settings.bucket)  # type: ignore[attr-defined]
    assert not [one for one in uploads.get("Uploads", ()) if one["Key"].startswith(store_settings.prefix)]


def test_listing_is_in_key_order_with_keys_below_the_prefix_only(store: S3Store, raw: object) -> None:
    keys = [f"s/{n:04d}" for n in range(1100)]  # more than one page
    in_parallel(lambda key: store.put(key, key.encode()), reversed(keys), 8)
    store.put("t/other", b"")
    listed = list(store.list("s/"))
    assert [entry.key for entry in listed] == keys
    assert listed[0].size == 6
    assert listed[0].modified.tzinfo is not None
    assert list(store.list("nothing/")) == []


@pytest.mark.parametrize("where", [0, 1000, -1])
def test_one_flipped_byte_is_caught_and_never_published(
    store: S3Store, store_settings: StoreSettings, raw: object, tmp_path: Path, where: int
) -> None:
    data = bytearray(os.urandom(3 * 2**20))
    store.put("part", bytes(data))
    digest, size = sha256(bytes(data)), len(data)
    data[where] ^= 1
    raw.put_object(Bucket=store_settings.bucket, Key=f"{store_settings.prefix}/part", Body=bytes(data))  # type: ignore[attr-defined]
    with pytest.raises(ObjectCorrupt, match="part"):
        store.fetch("part", tmp_path / "copy", size=size, sha256=digest)
    assert list(tmp_path.iterdir()) == []


def test_an_object_cut_short_is_caught(store: S3Store) -> None:
    store.put("part", b"12345")
    with pytest.raises(ObjectCorrupt, match="5 bytes instead of 6"):
        list(store.stream("part", size=6, sha256=sha256(b"123456")))


def test_a_missing_object_is_said_to_be_missing(store: S3Store, tmp_path: Path) -> None:
    for call in (
        lambda: store.get("no"),
        lambda: list(store.stream("no", size=1, sha256="0" * 64)),
        lambda: store.fetch("no", tmp_path / "x", size=1, sha256="0" * 64),
    ):
        with pytest.raises(ObjectMissing, match="/no"):
            call()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", CALLS)
def test_refused_credentials_are_said_within_seconds_and_never_shown(
    store_settings: StoreSettings, s3_server: S3Server, name: str
) -> None:
    store = open_store(store_settings, Login(s3_server.login.user, "wrong-secret"))
    began = time.monotonic()
    with pytest.raises(StoreDenied) as caught:
        CALLS[name](store)
    assert time.monotonic() - began < 5
    assert "wrong-secret" not in caught.value.with_hint()
    assert s3_server.login.password not in caught.value.with_hint()
    assert "access key" in caught.value.hint


@pytest.mark.parametrize("name", CALLS)
def test_a_store_that_is_down_is_said_within_seconds(store_settings: StoreSettings, name: str) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound, not listening: nobody else answers there
        endpoint = f"http://127.0.0.1:{held.getsockname()[1]}"
        store = open_store(store_settings.model_copy(update={"endpoint": endpoint}), Login("a", "b"))
        began = time.monotonic()
        with pytest.raises(StoreUnavailable) as caught:
            CALLS[name](store)
    assert time.monotonic() - began < 15
    assert "endpoint" in caught.value.hint
    assert caught.value.retryable


def test_a_bucket_that_does_not_exist_is_named(store_settings: StoreSettings, s3_server: S3Server) -> None:
    store = open_store(store_settings.model_copy(update={"bucket": "no-such-bucket"}), s3_server.login)
    with pytest.raises(StoreError, match="no-such-bucket") as caught:
        list(store.list(""))
    assert "create the bucket" in caught.value.hint


def test_an_endpoint_that_is_no_url_is_a_mistake_in_the_fleet_file(store_settings: StoreSettings) -> None:
    with pytest.raises(FleetError, match="endpoint"):
        open_store(store_settings.model_copy(update={"endpoint": "localhost"}), Login("a", "b"))


def test_a_download_that_breaks_off_goes_on_where_it_was(store_settings: StoreSettings, s3_server: S3Server) -> None:
    data = os.urandom(12 * 2**20)
    open_store(store_settings, s3_server.login).put("big", data)
    with breaking_line(s3_server.endpoint, after=5 * 2**20, times=3) as (endpoint, sent):
        store = open_store(store_settings.model_copy(update={"endpoint": endpoint}), s3_server.login)
        assert b"".join(store.stream("big", size=len(data), sha256=sha256(data))) == data
    assert len(sent) >= 3
    assert sum(sent) < 1.5 * len(data)  # gone on, not begun anew


def test_a_put_whose_answer_got_lost_counts_as_won(store_settings: StoreSettings, s3_server: S3Server) -> None:
    with breaking_line(s3_server.endpoint, after=0, times=1) as (endpoint, sent):
        store = open_store(store_settings.model_copy(update={"endpoint": endpoint}), s3_server.login)
        store.put("once", b"mine")
    assert len(sent) > 1
    assert open_store(store_settings, s3_server.login).get("once") == b"mine"


@contextmanager
def breaking_line(endpoint: str, *, after: int, times: int) -> Iterator[tuple[str, list[int]]]:
    """A TCP relay to ``endpoint`` that hangs up after so many bytes of answer, so many times."""
    upstream = urlsplit(endpoint)
    sent: list[int] = []

    def relay(client: socket.socket) -> None:
        number = len(sent)
        sent.append(0)
        with client, socket.create_connection((upstream.hostname, upstream.port)) as server:
            up = threading.Thread(target=_copy, args=(client, server), daemon=True)
            up.start()
            while block := server.recv(65536):
                if number < times and sent[number] + len(block) > after:
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(block)
                sent[number] += len(block)

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return  # the test is over
                threading.Thread(target=relay, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", sent


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while block := source.recv(65536):
            target.sendall(block)
    except OSError:
        return  # hung up, which is what this line is for


def test_work_side_by_side_is_bounded_in_order_and_stops_at_the_first_failure() -> None:
    running, most, begun = 0, 0, 0
    lock = threading.Lock()

    def work(number: int) -> int:
        nonlocal running, most, begun
        with lock:
            running, begun = running + 1, begun + 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        if number == 20:
            raise ValueError("twenty")
        return number * 2

    assert in_parallel(work, iter(range(20)), 3) == [n * 2 for n in range(20)]
    assert most == 3
    begun = 0
    with pytest.raises(ValueError, match="twenty"):
        in_parallel(work, iter(range(15, 100)), 3)
    assert begun < 12


def test_ten_thousand_chunks_are_enough_for_the_largest_object() -> None:
    assert sum(chunk_bytes(number) for number in range(10_000)) > 5 * 10**12  # what S3 takes at most
    assert chunk_bytes(9_999) <= 5 * 2**30


def test_the_store_is_where_the_fleet_file_says_whatever_else_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "http://elsewhere.example.net:9000")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    of_aws = open_store(StoreSettings(bucket="backups"), Login("a", "b"))._client.meta
    assert (of_aws.endpoint_url, of_aws.region_name) == ("https://s3.amazonaws.com", "us-east-1")
    named = StoreSettings(bucket="backups", endpoint="https://s3.example.net", region="r1")
    own = open_store(named, Login("a", "b"))._client.meta
    assert (own.endpoint_url, own.region_name) == ("https://s3.example.net", "r1")
