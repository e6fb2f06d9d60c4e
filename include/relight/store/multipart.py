"""Writing an object of any size: read once, hashed while read, several parts under way at once."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError

from relight.errors import ObjectExists, StoreBusy, StoreError
from relight.store.failures import store_errors
from relight.store.patience import patiently
from relight.store.writing import WRITER, look, write_once

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

CHUNK = 16 * 2**20
"""Bytes of the first parts. Above 5 MiB, which S3 demands of all parts but the last."""


class MultipartUpload:
    """One object on its way up. ``slots`` bounds how many chunks are in memory, all uploads together."""

    def __init__(self, client: S3Client, bucket: str, key: str, writer: str, slots: threading.BoundedSemaphore) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._writer = writer
        self._slots = slots
        self._upload = ""
        self._sha256 = hashlib.sha256()
        self._size = 0

    def run(self, first: bytes, source: BinaryIO, at_once: int) -> tuple[int, str]:
        """Send ``first`` and what is left of ``source``; gives size and SHA-256.

        :raises ObjectExists: the key is taken. After any failure nothing is left in the store.
        """
        self._upload = patiently()(self._begin)
        try:
            with ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="relight-put") as pool:
                parts = [part.result() for part in self._send_all(first, source, pool)]
            self._complete(parts)
        except BaseException:
            self._abort()
            raise
        return self._size, self._sha256.hexdigest()

    def _begin(self) -> str:
        with store_errors(self._key):
            return self._client.create_multipart_upload(
                Bucket=self._bucket, Key=self._key, Metadata={WRITER: self._writer}
            )["UploadId"]

    def _send_all(self, first: bytes, source: BinaryIO, pool: ThreadPoolExecutor) -> list[Future[CompletedPartTypeDef]]:
        sent: list[Future[CompletedPartTypeDef]] = []
        chunk = first
        while chunk and not any(part.done() and part.exception() for part in sent[-64:]):
            self._sha256.update(chunk)
            self._size += len(chunk)
            self._slots.acquire()
            sent.append(pool.submit(self._send, len(sent) + 1, chunk))
            chunk = read_fully(source, chunk_bytes(len(sent)))
        return sent

    def _send(self, number: int, chunk: bytes) -> CompletedPartTypeDef:
        try:
            return {"PartNumber": number, "ETag": patiently()(self._send_once, number, chunk)}
        finally:
            self._slots.release()

    def _send_once(self, number: int, chunk: bytes) -> str:
        with store_errors(self._key):
            answer = self._client.upload_part(
                Bucket=self._bucket, Key=self._key, UploadId=self._upload, PartNumber=number, Body=chunk
            )
        if "ETag" not in answer:
            raise StoreError("the store has not said what it took", on=self._key, why=f"part {number} has no ETag")
        return answer["ETag"]

    def _complete(self, parts: list[CompletedPartTypeDef]) -> None:
        def send(**condition: Any) -> None:
            self._client.complete_multipart_upload(
                Bucket=self._bucket, Key=self._key, UploadId=self._upload, MultipartUpload={"Parts": parts},
                **condition,
            )  # fmt: skip

        patiently()(write_once, self._client, self._bucket, self._key, self._writer, send, self._size)
        there = look(self._client, self._bucket, self._key)
        if there is None:
            raise StoreBusy("the store has lost an object that it took", on=self._key, hint="try again")
        if there["writer"] != self._writer:
            raise ObjectExists("the object exists already", on=self._key, why="another writer was faster")

    def _abort(self) -> None:
        # The reason of the failure is already on its way up; what an abort that fails too leaves behind
        # is invisible, and a lifecycle rule of the bucket removes it.
        with contextlib.suppress(ClientError, BotoCoreError):
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=self._upload)


def chunk_bytes(number: int) -> int:
    """Bytes of the chunk after ``number`` others: S3 takes 10,000, so they grow (2.5 TiB after 8,000)."""
    return CHUNK << min(number // 1000, 7)


def read_fully(source: BinaryIO, length: int) -> bytes:
    """``length`` bytes, less only at the end of the source: a raw stream may give fewer at a time."""
    pieces = []
    while length > 0 and (piece := source.read(length)):
        pieces.append(piece)
        length -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
