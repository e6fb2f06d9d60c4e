"""The one way to write a JSON document that a signature covers."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any, NoReturn


def canonical(document: object) -> bytes:
    """A document, as :func:`parsed` gives it, in UTF-8: fields sorted by name, no space between anything,
    nothing escaped that need not be, whole numbers without a fraction.

    :raises ValueError: a number is none, or a text is not Unicode. RecursionError: it is nested too deep.
    """
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def parsed(content: bytes) -> Any:
    """A JSON document that says one thing only.

    :raises ValueError: it is not JSON, names a field twice, or holds a number that is none.
        RecursionError: it is nested too deep.
    """
    return json.loads(
        content.decode("utf-8"), object_pairs_hook=_fields, parse_float=_number, parse_constant=_no_number
    )


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        # Programs differ in which of the two they take.
        [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the field {twice!a} is there twice")
    return fields


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _no_number(text)
    # Programs that know one kind of number only write 12.0 as 12.
    return int(number) if number.is_integer() else number


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is not a number")
