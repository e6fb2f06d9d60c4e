"""Writing an object that must not exist yet: what a conditional request has come to, whatever was answered.

An answer may get lost, and the request be sent again by botocore or by a proxy, to be refused because of the first
one; so each object carries a token of its writer, and a writer that finds its own token there has won.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from relight.errors import ObjectExists, StoreError, StoreUnavailable
from relight.store.failures import error_code, store_errors
from relight.store.patience import patiently, waits

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

WRITER: Final = "relight-writer"
"""Metadata that tells, after an answer got lost, whose object it is that lies there."""

Send = Callable[..., object]
"""Sends the request with a condition: ``IfNoneMatch`` or ``IfMatch``."""

_REFUSED: Final = {409, 412}
"""The condition is not met, or somebody else is writing at the same moment."""


def write_once(client: S3Client, bucket: str, key: str, writer: str, send: Send, size: int) -> None:
    """Send a conditional request until it is known what came of it.

    :param size: bytes of what is written.
    :raises ObjectExists: another writer's object is there. StoreUnavailable: the store contradicts itself, every time.
    """
    condition: dict[str, str] = {"IfNoneMatch": "*"}
    why = ""
    for wait in waits():
        time.sleep(wait)
        with store_errors(key):
            try:
                send(**condition)
            except ClientError as refusal:
                if not _is_undecided(refusal):
                    raise
                why = error_code(refusal)
            else:
                return
        there = look(client, bucket, key)
        mine = there is not None and there["writer"] == writer
        if there is not None and there["size"] == size and (mine or not size):
            return
        if there is not None and there["size"] and not mine:
            raise ObjectExists("the object exists already", on=key, why="objects are written once")
        if why == "NoSuchUpload":
            break
        # An empty remnant counts as not there, and is replaced.
        condition = {"IfMatch": there["etag"]} if there is not None else {"IfNoneMatch": "*"}
    raise StoreUnavailable(
        "the store refuses to write an object that is not there", on=key, why=f"{why}, several times", hint="try again"
    )


def _is_undecided(refusal: ClientError) -> bool:
    status = refusal.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status in _REFUSED or error_code(refusal) in ("PreconditionFailed", "NoSuchUpload")


def look(client: S3Client, bucket: str, key: str) -> dict[str, Any] | None:
    """``size``, ``writer`` and ``etag`` of an object; None where there is none."""

    def head() -> dict[str, Any] | None:
        with store_errors(key):
            try:
                there = client.head_object(Bucket=bucket, Key=key)
            except ClientError as error:
                if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                    return None
                raise
        size, etag = there.get("ContentLength"), there.get("ETag")
        if size is None or etag is None:
            raise StoreError("the store does not say what lies there", on=key, why="no ETag or no Content-Length")
        return {"size": size, "writer": there.get("Metadata", {}).get(WRITER), "etag": etag}

    return patiently()(head)
