"""What botocore raises, said in Relight's errors. Credentials never appear in a message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import urllib3.exceptions
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as NoConnection
from botocore.parsers import ResponseParserError

from relight.errors import ObjectExists, ObjectMissing, StoreBusy, StoreDenied, StoreError, StoreUnavailable

_DENIED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "401", "403"}
_PASSING = {"ConditionalRequestConflict", "OperationAborted", "RequestTimeout", "SlowDown", "Throttling"}
_AWAY = (
    NoConnection, HTTPClientError, IncompleteReadError, urllib3.exceptions.HTTPError, ConnectionError, TimeoutError,
)  # fmt: skip
_EXPLAINED = 200
"""The most characters of a store's own words that go into a message."""


@contextmanager
def store_errors(on: str) -> Iterator[None]:
    """Turn what goes wrong inside into a StoreError about the object (or bucket) ``on``."""
    try:
        yield
    except ClientError as error:
        raise explained(error, on) from None
    except _AWAY as error:
        raise StoreUnavailable(
            "the store does not answer", on=on, why=_short(str(error)),
            hint="check the store's endpoint in the fleet file, and that the store is running",
        ) from None  # fmt: skip
    except ResponseParserError as error:  # the page of a gateway, or an answer that was cut off
        raise StoreBusy("the store's answer cannot be read", on=on, why=_short(str(error)), hint="try again") from None
    except BotoCoreError as error:
        raise StoreError("the store cannot be used", on=on, why=_short(str(error))) from None


def explained(error: ClientError, on: str) -> StoreError:
    """The StoreError for an answer with an error status."""
    code = error_code(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    why = _short(f"{code} {error.response.get('Error', {}).get('Message', '')}".strip())
    if code == "NoSuchBucket":
        return StoreError(
            "no such bucket", on=on, why=why, hint="create the bucket, or correct its name in the fleet file"
        )
    if status == 412 or code == "PreconditionFailed":
        return ObjectExists("the object exists already", on=on, why="objects are written once")
    if status in (401, 403) or code in _DENIED:
        skewed = code == "RequestTimeTooSkewed"
        advice = "check the store's access key and secret, and what they may do with this bucket"
        return StoreDenied(
            "the store refuses the credentials", on=on, why=why, hint="set this machine's clock" if skewed else advice
        )
    if status >= 500 or status in (409, 429) or code in _PASSING:
        return StoreBusy("the store could not do it now", on=on, why=why, hint="try again")
    if status == 404:
        return ObjectMissing("no such object in the store", on=on, why=why)
    return StoreError("the store refuses the request", on=on, why=why or f"status {status}")


def error_code(error: ClientError) -> str:
    """The S3 error code, such as ``NoSuchKey``."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _EXPLAINED else text[: _EXPLAINED - 3] + "..."
