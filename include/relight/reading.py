"""The one place where stored text becomes a value: objects of the store, and files that runs and servers keep.

All of it was written by somebody else: another machine, another version of Relight, a disk that lost its power, or
somebody who means harm. So it is bounded before it is read, and whatever is wrong with it is one typed error, that
names the object. What follows is for the caller to say, and differs:

* What decides something (a claim, an outcome, a plan, a mark, a certificate) and cannot be read is an error: it is
  never taken for "there is none".
* What tells of the past (a record, a timing, an overview) and cannot be read is passed over, and that is said.
* What can be made again from what is certain (a split, a digest, a witness) is made again.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from relight.errors import ObjectCorrupt, RelightError

Model = TypeVar("Model", bound=BaseModel)

_MOST_FILE: Final = 512 * 2**20
"""Bytes of the largest file that is read whole."""
_SHOWN: Final = 200
_NEWER: Final = "it may have been written by another version of Relight: use that one, or move the object away"
_BROKEN: Final = "restore it from a copy, or move it away"
_OF_OTHER_VERSIONS: Final = frozenset({"extra_forbidden", "missing", "literal_error"})
"""What pydantic finds wrong with what another version may well have written."""


def read_json(kind: type[Model], content: str | bytes, *, on: str, what: str) -> Model:
    """The value that the text says.

    :param on: the key or path; ``what``: what it should be, for people: "a claim".
    :raises ObjectCorrupt: it says none.
    """
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise _unreadable(what, on, *_explained(content, error)) from None
    except (RelightError, ValueError, RecursionError) as error:  # of a value's own parser
        raise _unreadable(what, on, str(error), _BROKEN) from None


def read_lines(kind: type[Model], content: str | bytes, *, on: str, what: str) -> list[Model]:
    """The values that the lines say, one each. :raises ObjectCorrupt: one says none."""
    return [read_json(kind, line, on=on, what=what) for line in content.splitlines()]


def read_document(content: str | bytes, *, on: str, what: str) -> Any:
    """JSON of no fixed shape, for what is not Relight's own. :raises ObjectCorrupt: it is not JSON."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _unreadable(what, on, str(error), _BROKEN) from None


def read_file(path: Path, what: str) -> bytes:
    """The bytes of a file.

    :raises FileNotFoundError: there is none. ObjectCorrupt: it cannot be read, is no file, or is far too large.
    """
    try:
        # What should be a file may be a pipe that nobody writes to.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            content = file.read(_MOST_FILE + 1) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(str(path)) from None
    except OSError as error:
        raise _unreadable(what, str(path), str(error), _BROKEN) from None
    if content is None:
        raise _unreadable(what, str(path), "it is no file", _BROKEN)
    if len(content) > _MOST_FILE:
        raise _unreadable(what, str(path), f"it has more than {_MOST_FILE} bytes", _BROKEN)
    return content


def read_json_file(kind: type[Model], path: Path, what: str) -> Model:
    """The value in a file. :raises FileNotFoundError: there is none. ObjectCorrupt: it says none."""
    return read_json(kind, read_file(path, what), on=str(path), what=what)


def _explained(content: str | bytes, error: ValidationError) -> tuple[str, str]:
    """Why, and what to do."""
    if not content.strip():
        return "it is empty", _BROKEN
    found = error.errors(include_url=False, include_context=False, include_input=False)
    first = found[0]
    place = ".".join(str(item) for item in first["loc"])
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    why = f"{place}: {first['msg']}{more}" if place else f"{first['msg']}{more}"
    of_another = {one["type"] for one in found} <= _OF_OTHER_VERSIONS
    return why, _NEWER if of_another else _BROKEN


def _unreadable(what: str, on: str, why: str, hint: str) -> ObjectCorrupt:
    short = " ".join(why.split())
    return ObjectCorrupt(
        f"{what} cannot be read", on=on, why=short if len(short) <= _SHOWN else short[: _SHOWN - 3] + "...", hint=hint
    )  # fmt: skip
