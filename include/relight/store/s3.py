"""The store over S3: any endpoint that does conditional puts (``If-None-Match: *``).

Every object is written once. A conditional request whose answer got lost is sent again by
botocore and then refused, because of the first one; so each object carries a token of its
writer, and a refused writer that finds its own token there has won.

Nothing here stores an empty object. SeaweedFS 4.48 makes one of an upload that broke off before its
first byte; such a remnant counts as not there, and is replaced by the next writer (``If-Match``).
The same server checks the condition of a multipart upload, but lets two that complete within the
same milliseconds both pass (single puts are exact). So ``put`` decides who wins something, and what
:meth:`S3Store.put_stream` writes under one key must be the same whoever writes it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
import threading
from collections.abc import Iterator
from datetime import UTC
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from relight.credentials import Login
from relight.errors import FleetError, StoreUnavailable
from relight.fleet import StoreSettings
from relight.store.base import StoredObject, verified
from relight.store.failures import store_errors
from relight.store.multipart import CHUNK, WRITER, MultipartUpload, read_fully, remnant_or_raise

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3.client import S3Client

_BLOCK = 2**20
_CONNECT_SECONDS = 3
_ANSWER_SECONDS = 30
_ATTEMPTS = 3
"""Of one request, by botocore; a dead store is reported within about 10 s."""
_RESUMES = 5
"""How often a download that broke off goes on, each time without a byte of progress."""

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
        """Every object below ``prefix``, in key order."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix
        )
        with store_errors(f"s3://{self._bucket}/{self._prefix}{prefix}"):
            for page in pages:
                for entry in page.get("Contents", ()):
                    key = entry["Key"].removeprefix(self._prefix)
                    yield StoredObject(key, entry["Size"], entry["LastModified"].astimezone(UTC))

    def put(self, key: str, data: bytes) -> None:
        """Write a small object that must not exist yet. :raises ObjectExists: the key is taken."""
        full_key, mark = self._prefix + key, {WRITER: secrets.token_hex(16)}
        with store_errors(full_key):
            try:
                self._client.put_object(Bucket=self._bucket, Key=full_key, Body=data, Metadata=mark, IfNoneMatch="*")
            except ClientError as refusal:
                remnant = remnant_or_raise(self._client, self._bucket, full_key, mark[WRITER], refusal)
                if remnant and data:
                    self._client.put_object(
                        Bucket=self._bucket, Key=full_key, Body=data, Metadata=mark, IfMatch=remnant
                    )

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

    def get(self, key: str) -> bytes:
        """A small object, whole. :raises ObjectMissing: there is none."""
        download = _Download(self._client, self._bucket, self._prefix + key)
        content = BytesIO()
        for block in download:
            content.write(block)
        return content.getvalue()

    def stream(self, key: str, *, size: int | None, sha256: str | None) -> Iterator[bytes]:
        """The object's bytes as they arrive; a connection that breaks is taken up where it broke.

        :raises ObjectMissing: there is none. ObjectCorrupt: size or digest differ.
        """
        full_key = self._prefix + key
        yield from verified(_Download(self._client, self._bucket, full_key), full_key, size=size, sha256=sha256)

    def fetch(self, key: str, target: Path, *, size: int, sha256: str) -> None:
        """Download to a file that appears under its name only when it is verified."""
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                for block in self.stream(key, size=size, sha256=sha256):
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


class _Download:
    """One object's bytes, in blocks; knows how far it is."""

    def __init__(self, client: S3Client, bucket: str, key: str) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._offset = 0
        self._length = 0
        self._body: StreamingBody | None = None
        # Breaks in the middle are worth several more tries; a store that does not even begin is not.
        self._retry = Retrying(
            retry=retry_if_exception_type(StoreUnavailable), stop=stop_after_attempt(_RESUMES),
            wait=wait_exponential(multiplier=0.2, max=5), reraise=True,
        )  # fmt: skip

    def __iter__(self) -> Iterator[bytes]:
        self._open()
        try:
            while block := self._retry(self._read):
                self._offset += len(block)
                yield block
        finally:
            self._close()

    def _open(self) -> None:
        with store_errors(self._key):
            if self._offset:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._key, Range=f"bytes={self._offset}-")
            else:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._key)
        self._length = self._offset + answer["ContentLength"]
        self._body = answer["Body"]

    def _read(self) -> bytes:
        if self._body is None and self._offset < self._length:
            self._open()
        if self._body is None:
            return b""
        try:
            with store_errors(self._key):
                return self._body.read(_BLOCK)
        except StoreUnavailable:
            self._close()
            raise

    def _close(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None
