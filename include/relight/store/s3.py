"""The store over S3: any endpoint that does conditional puts (``If-None-Match: *``).

Every object is written once. A conditional request whose answer got lost is sent again by
botocore and then refused, because of the first one; see :mod:`relight.store.writing`.

Nothing here stores an empty object. SeaweedFS 4.48 makes one of an upload that broke off before its
first byte; such a remnant counts as not there, and is replaced by the next writer (``If-Match``).
The same server checks the condition of a multipart upload, but lets two that complete within the
same milliseconds both pass (single puts are exact). So ``put`` decides who wins something, and what
:meth:`S3Store.put_stream` writes under one key must be the same whoever writes it.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import boto3
from botocore.config import Config

from relight.credentials import Login
from relight.durable import written_beside
from relight.errors import FleetError, StoreBusy, StoreError
from relight.fleet import StoreSettings
from relight.store.base import MOST_MANIFEST, MOST_RECORD, StoredObject, again_if_damaged, damaged, verified
from relight.store.download import Download
from relight.store.failures import store_errors
from relight.store.multipart import CHUNK, MultipartUpload, read_fully
from relight.store.patience import patiently
from relight.store.writing import WRITER, write_once

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef

_SHA256 = "relight-sha256"
"""Metadata of what :meth:`S3Store.put` writes: what its bytes must come back as. (An ETag is not always an MD5.)"""
_CONNECT_SECONDS = 3
_ANSWER_SECONDS = 30
_ATTEMPTS = 3
"""Of one request, by botocore; a dead store is reported within about 10 s."""

_SESSION = boto3.session.Session()
"""One for all: it keeps the description of S3, which takes longer to read than a short step takes."""
_ONE_AT_A_TIME = threading.Lock()
"""A session makes one client at a time; the clients themselves are safe to use from several threads."""


def open_store(settings: StoreSettings, login: Login) -> S3Store:
    """A store for the bucket and prefix of ``settings``. Nothing is sent yet.

    :raises FleetError: the endpoint is not a URL.
    """
    config = Config(
        connect_timeout=_CONNECT_SECONDS, read_timeout=_ANSWER_SECONDS,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        max_pool_connections=2 * settings.parallel + 2,
        # Old and small S3 servers do not know the newer checksum headers. Each body's SHA-256 is part of
        # the signature instead, which every server checks, so what is damaged on its way up is refused.
        request_checksum_calculation="when_required", response_checksum_validation="when_required",
        # The store is where the fleet file says, on every machine: not where a variable or ~/.aws of one points to.
        ignore_configured_endpoint_urls=True,  # type: ignore[call-arg]  # the stubs do not know it yet
        s3={"payload_signing_enabled": True, "addressing_style": "path" if settings.endpoint else "auto"},
    )  # fmt: skip
    try:
        with _ONE_AT_A_TIME:
            client = _SESSION.client(
                "s3", endpoint_url=settings.endpoint, region_name=settings.region, aws_access_key_id=login.user,
                aws_secret_access_key=login.password, config=config,
            )  # fmt: skip
    except ValueError as error:
        raise FleetError(
            "the store's endpoint is not a URL", on=str(settings.endpoint), why=str(error),
            hint="write it like http://127.0.0.1:8333",
        ) from None  # fmt: skip
    return S3Store(client, settings)


class S3Store:
    """See :class:`relight.store.base.Store` for the contract. Safe to use from several threads."""

    def __init__(self, client: S3Client, settings: StoreSettings) -> None:
        self._client = client
        self._bucket = settings.bucket
        self._prefix = settings.prefix.strip("/") + "/" if settings.prefix.strip("/") else ""
        self._parallel = settings.parallel
        self._slots = threading.BoundedSemaphore(settings.parallel + 1)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every object below ``prefix``, in key order. :raises StoreUnavailable: the listing breaks off."""
        where = f"s3://{self._bucket}/{self._prefix}{prefix}"
        following: str | None = None
        while True:
            page = patiently()(self._page, prefix, following, where)
            for entry in page.get("Contents", ()):
                if not entry["Key"].startswith(self._prefix + prefix):
                    raise StoreError("the store lists what was not asked for", on=where, why=entry["Key"])
                key = entry["Key"].removeprefix(self._prefix)
                yield StoredObject(key, entry["Size"], entry["LastModified"].astimezone(UTC))
            if not page.get("IsTruncated"):
                return
            following = page["NextContinuationToken"]

    def _page(self, prefix: str, following: str | None, where: str) -> ListObjectsV2OutputTypeDef:
        further: dict[str, Any] = {"ContinuationToken": following} if following else {}
        with store_errors(where):
            page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix + prefix, **further)
        # A shorter list would be taken for all there is: backups that are there would count as lost.
        if page.get("IsTruncated") and page.get("NextContinuationToken", "") in ("", following):
            raise StoreBusy(
                "a listing breaks off", on=where, why="it is said to go on, and not where", hint="try again"
            )
        if any(not {"Key", "Size", "LastModified"} <= entry.keys() for entry in page.get("Contents", ())):
            raise StoreBusy("a listing is not whole", on=where, why="an object without size or time", hint="try again")
        return page

    def put(self, key: str, data: bytes) -> None:
        """Write a small object that must not exist yet. :raises ObjectExists: the key is taken."""
        full_key, writer = self._prefix + key, secrets.token_hex(16)
        if len(data) > MOST_MANIFEST:
            raise StoreError("an object is too large to be read again", on=full_key, why=f"{len(data)} bytes")
        mark = {WRITER: writer, _SHA256: hashlib.sha256(data).hexdigest()}

        def send(**condition: str) -> None:
            self._client.put_object(Bucket=self._bucket, Key=full_key, Body=data, Metadata=mark, **condition)  # type: ignore[arg-type]

        patiently()(write_once, self._client, self._bucket, full_key, writer, send, len(data))

    def put_stream(self, key: str, source: BinaryIO) -> tuple[int, str]:
        """Write an object of any size that must not exist yet; gives size and SHA-256.

        :raises ObjectExists: the key is taken. See the module's text about two at the same moment.
        """
        first = read_fully(source, CHUNK)
        if len(first) < CHUNK:
            self.put(key, first)
            return len(first), hashlib.sha256(first).hexdigest()
        writer = secrets.token_hex(16)
        upload = MultipartUpload(self._client, self._bucket, self._prefix + key, writer, self._slots)
        return upload.run(first, source, self._parallel)

    def get(self, key: str, *, most: int = MOST_RECORD) -> bytes:
        """A small object, whole. :raises ObjectMissing: there is none. ObjectCorrupt: see the contract."""
        return again_if_damaged(lambda: self._whole(self._prefix + key, most))

    def _whole(self, full_key: str, most: int) -> bytes:
        download, content = Download(self._client, self._bucket, full_key), bytearray()
        for block in download:
            if max(download.length or 0, len(content) + len(block)) > most:
                raise damaged(full_key, f"it has more than {most} bytes")
            content += block
        known = download.metadata.get(_SHA256)
        if known is not None and hashlib.sha256(content).hexdigest() != known:
            raise damaged(full_key, "its SHA-256 is not the one that it was written with")
        return bytes(content)

    def stream(self, key: str, *, size: int | None, sha256: str | None) -> Iterator[bytes]:
        """The object's bytes as they arrive; a connection that breaks is taken up where it broke.

        :raises ObjectMissing: there is none. ObjectCorrupt: size or digest differ.
        """
        full_key = self._prefix + key
        yield from verified(Download(self._client, self._bucket, full_key), full_key, size=size, sha256=sha256)

    def fetch(self, key: str, target: Path, *, size: int, sha256: str) -> None:
        """Download to a file that appears under its name only when it is verified."""
        target.parent.mkdir(parents=True, exist_ok=True)
        again_if_damaged(lambda: self._fetched(key, target, size, sha256))

    def _fetched(self, key: str, target: Path, size: int, sha256: str) -> None:
        with written_beside(target) as file:
            for block in self.stream(key, size=size, sha256=sha256):
                file.write(block)
