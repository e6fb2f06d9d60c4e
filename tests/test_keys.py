"""Keys as text: one way to write each, and never repeated where it is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from relight.keys import PublicKey, decoded, encoded, fingerprint

KEY = encoded(bytes(range(32)))


@given(st.binary(max_size=100))
def test_what_was_encoded_is_decoded(content: bytes) -> None:
    assert decoded(encoded(content), len(content)) == content


@pytest.mark.parametrize(
    "text",
    ["", "hunter2", KEY[:-1], KEY + "\n", f" {KEY}", KEY.replace("A", "-", 1), KEY[:-2] + "9=", encoded(bytes(31)),
     encoded(bytes(33)), bytes(32).hex(), KEY[:-1] + "é", "A" * 10_000],
)  # fmt: skip
def test_a_text_that_is_no_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not the base64 of 32 bytes$"):
        decoded(text)
    with pytest.raises(ValidationError, match="not a public key: not the base64 of 32 bytes"):
        TypeAdapter(PublicKey).validate_python(text)


def test_two_texts_never_mean_the_same_key() -> None:
    last = KEY[-2]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    same = [text for letter in alphabet if letter != last and is_key(text := f"{KEY[:-2]}{letter}=")]
    assert all(decoded(text) != decoded(KEY) for text in same)


def is_key(text: str) -> bool:
    try:
        decoded(text)
    except ValueError:
        return False
    return True


def test_a_fingerprint_is_the_digest_that_sha256sum_gives() -> None:
    assert fingerprint(KEY) == "SHA256:Yw3NKWbEM2aRElRIu7JbT/QSpJxzLbLIq8G4WBvXEN0"
