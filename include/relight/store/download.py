"""One object's bytes, in blocks; a connection that breaks is taken up where it broke."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from relight.errors import StoreBusy, StoreUnavailable
from relight.store.base import damaged
from relight.store.failures import error_code, store_errors
from relight.store.patience import going_on, patiently

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_BLOCK = 2**20
_PIECE = 2**18
_RANGE = re.compile(r"bytes (\d+)-")


class Download:
    """Iterated once. ``length`` (None where the store does not say) and ``metadata`` are known once it has begun."""

    def __init__(self, client: S3Client, bucket: str, key: str) -> None:
        self.length: int | None = None
        self.metadata: dict[str, str] = {}
        self._client = client
        self._bucket = bucket
        self._key = key
        self._etag: str | None = None
        self._offset = 0
        """How much has arrived."""
        self._skip = 0
        """How much of what comes next has arrived already: not every server knows how to begin in the middle."""
        self._end: int | None = None
        """How much it is, as far as the store says."""
        self._over = False
        self._body: Any = None

    def __iter__(self) -> Iterator[bytes]:
        # Breaks in the middle are worth several more tries; a store that does not even begin is not.
        patiently()(self._open)
        retry = going_on()
        try:
            while block := retry(self._read):
                yield block
        finally:
            self._close()

    def _open(self) -> None:
        wanted: dict[str, Any] = {"Range": f"bytes={self._offset}-"} if self._offset else {}
        with store_errors(self._key):
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._key, **wanted)
            except ClientError as error:
                if error_code(error) in ("InvalidRange", "416"):
                    raise damaged(self._key, f"the store has {self._offset} bytes, and spoke of {self._end}") from None
                raise
        begins = _RANGE.match(answer.get("ContentRange", ""))
        begin = int(begins[1]) if begins else 0
        if begin not in (0, self._offset):
            answer["Body"].close()
            raise StoreBusy("the store sends other bytes than were asked for", on=self._key, hint="try again")
        length = answer.get("ContentLength")
        if not self._offset:
            self.metadata, self._etag = answer.get("Metadata", {}), answer.get("ETag")
            self.length = length
        elif answer.get("ETag") != self._etag:
            answer["Body"].close()
            raise damaged(self._key, "it was replaced while it was read")
        self._end = None if length is None else begin + length
        self._skip = self._offset - begin
        self._body = answer["Body"]

    def _read(self) -> bytes:
        """The next block, shorter where the connection breaks: what has arrived counts. Nothing: it is over."""
        block = bytearray()
        while not block and not self._over:
            if self._body is None:
                self._open()
            try:
                with store_errors(self._key):
                    self._fill(block)
            except StoreUnavailable:
                self._close()
                if not block:
                    raise
        self._offset += len(block)
        return bytes(block)

    def _fill(self, block: bytearray) -> None:
        # The body's own read() waits for all that was asked for, and loses what came before a break.
        stream = self._body._raw_stream  # noqa: SLF001 -- what its __enter__ gives, too
        while len(block) < _BLOCK:
            piece = stream.read1(_PIECE)
            if not piece:
                if self._end is not None and self._offset + len(block) < self._end:
                    raise StoreUnavailable("the connection to the store broke", on=self._key, hint="try again")
                self._over = True
                return
            known = min(self._skip, len(piece))
            self._skip -= known
            block += piece[known:]

    def _close(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None
