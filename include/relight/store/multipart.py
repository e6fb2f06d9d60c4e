"""Writing an object of any size: read once, hashed while read, several parts under way at once."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError

from relight.errors import ObjectExists
from relight.store.failures import error_code, store_errors, was_retried

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

CHUNK = 16 * 2**20
"""Bytes of the first parts. Above 5 MiB, which S3 demands of all parts but the last."""

WRITER = "relight-writer"
"""Metadata that tells, after an answer got lost, whose object it is that lies there."""


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
        with store_errors(self._key):
            self._upload = self._client.create_multipart_upload(
                Bucket=self._bucket, Key=self._key, Metadata={WRITER: self._writer}
            )["UploadId"]
        try:
            with ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="relight-put") as pool:
                parts = [part.result() for part in self._send_all(first, source, pool)]
            self._complete(parts)
        except BaseException:
            self._abort()
            raise
        return self._size, self._sha256.hexdigest()

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
            with store_errors(self._key):
                answer = self._client.upload_part(
                    Bucket=self._bucket, Key=self._key, UploadId=self._upload, PartNumber=number, Body=chunk
                )
            return {"PartNumber": number, "ETag": answer["ETag"]}
        finally:
            self._slots.release()

    def _complete(self, parts: list[CompletedPartTypeDef]) -> None:
        what = {"Bucket": self._bucket, "Key": self._key}
        upload = {"UploadId": self._upload, "MultipartUpload": {"Parts": parts}}
        with store_errors(self._key):
            try:
                self._client.complete_multipart_upload(**what, **upload, IfNoneMatch="*")  # type: ignore[arg-type]
            except ClientError as refusal:
                remnant = remnant_or_raise(self._client, self._bucket, self._key, self._writer, refusal)
                if remnant:
                    self._client.complete_multipart_upload(**what, **upload, IfMatch=remnant)  # type: ignore[arg-type]
            there = self._client.head_object(Bucket=self._bucket, Key=self._key)
        if there["Metadata"].get(WRITER) != self._writer:
            raise ObjectExists("the object exists already", on=self._key, why="another writer was faster")

    def _abort(self) -> None:
        # The reason of the failure is already on its way up; what an abort that fails too leaves behind
        # is invisible, and a lifecycle rule of the bucket removes it.
        with contextlib.suppress(ClientError, BotoCoreError):
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=self._upload)


def remnant_or_raise(client: S3Client, bucket: str, key: str, writer: str, refusal: ClientError) -> str | None:
    """What a refused conditional request means: None if it was carried out after all, its answer lost;
    the ETag of an empty remnant that may be replaced; else the refusal is raised again."""
    code = error_code(refusal)
    if code != "PreconditionFailed" and not (code == "NoSuchUpload" and was_retried(refusal)):
        raise refusal
    there = client.head_object(Bucket=bucket, Key=key)
    if there["ContentLength"] == 0:
        return there["ETag"]
    if was_retried(refusal) and there["Metadata"].get(WRITER) == writer:
        return None
    raise refusal


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
