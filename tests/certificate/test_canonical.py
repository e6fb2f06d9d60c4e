"""One document, one text: however it was laid out before."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.certificate.canonical import canonical, parsed

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
DOCUMENTS = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(DOCUMENTS, st.integers(0, 4), st.booleans(), st.randoms())
def test_layout_order_and_escapes_do_not_matter(document: Any, indent: int, escaped: bool, random: Any) -> None:
    laid_out = json.dumps(shuffled(document, random), indent=indent, ensure_ascii=escaped)
    plain = json.dumps(document).encode("utf-8")
    assert canonical(parsed(laid_out.encode("utf-8"))) == canonical(parsed(plain))


@given(DOCUMENTS)
def test_the_one_text_is_read_as_what_it_was_written_from(document: Any) -> None:
    text = canonical(document)
    assert parsed(text) == document
    assert canonical(parsed(canonical(parsed(text)))) == canonical(parsed(text))


def shuffled(document: Any, random: Any) -> Any:
    """The same, with the fields in another order."""
    if isinstance(document, list):
        return [shuffled(one, random) for one in document]
    if isinstance(document, dict):
        names = list(document)
        random.shuffle(names)
        return {name: shuffled(document[name], random) for name in names}
    return document


def test_the_form_is_the_one_that_is_published() -> None:
    document = b'{"z": [1, 2.50, 3.0, -0.0, 1e2], "\\u00e4": null, "a": {"y": true, "x": "\\n\\u00df"}}'
    assert canonical(parsed(document)) == '{"a":{"x":"\\nß","y":true},"z":[1,2.5,3,0,100],"ä":null}'.encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting"),
        (b"\xff", "decode"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'{"a": 1} {}', "Extra data"),
        (b'{"a": 1, "b": 2, "a": 1}', "the field 'a' is there twice"),
        (b'[{"x": {"\\u001b[2J": 1, "\\u001b[2J": 1}}]', r"the field '\x1b[2J' is there twice"),
        (b"[NaN]", "NaN is not a number"),
        (b"[Infinity]", "Infinity is not a number"),
        (b"[-Infinity]", "-Infinity is not a number"),
        (b"[1e999]", "1e999 is not a number"),
        (b"[" + b"9" * 5000 + b"]", "digits"),
    ],
)
def test_a_document_that_could_be_read_in_two_ways_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        parsed(content)
    assert said in str(refused.value)


def test_a_text_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        canonical(parsed(b'["\\ud800"]'))
