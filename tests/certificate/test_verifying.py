"""A certificate holds as it was signed, as long as it was signed for, or not at all."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from relight.certificate.canonical import canonical, parsed
from relight.certificate.signing import SigningKey
from relight.certificate.verifying import verify, verify_file
from relight.errors import CertificateRefused
from relight.keys import decoded, encoded, fingerprint
from tests.support.certificates import ISSUED, KEY, OTHER_KEY, SECRET, TRUSTED, VALID_FOR, certificate, table

NOW = ISSUED + timedelta(hours=1)
FILE = KEY.sign(certificate())
DOCUMENT: dict[str, Any] = json.loads(FILE)
Way = tuple[str | int, ...]


def refused(content: bytes | dict[str, Any], **more: Any) -> str:
    """Why the file is refused, on one line."""
    content = content if isinstance(content, bytes) else json.dumps(content).encode("utf-8")
    with pytest.raises(CertificateRefused, match="the certificate is refused") as error:
        verify(content, **{"trusted": TRUSTED, "now": NOW, **more})
    assert str(error.value).isprintable()
    assert error.value.hint
    return str(error.value)


def walk(document: Any, way: Way = ()) -> Iterator[tuple[Way, Any]]:
    """Every value of the document, containers included, and the way to it."""
    if way:
        yield way, document
    if isinstance(document, dict | list):
        for name, value in document.items() if isinstance(document, dict) else enumerate(document):
            yield from walk(value, (*way, name))


def replaced(way: Way, value: Any) -> dict[str, Any]:
    """The document with another value in one place."""
    document = copy.deepcopy(DOCUMENT)
    at: Any = document
    for part in way[:-1]:
        at = at[part]
    at[way[-1]] = value
    return document


def others(value: Any) -> Iterator[Any]:
    """Values that are not this one, near it first."""
    if isinstance(value, str):
        yield from (value[1:], f"{value} ", ("b" if value[:1] == "a" else "a") + value[1:])
        yield value[:-1] + ("b" if value[-1:] == "a" else "a")
    elif isinstance(value, bool | int | float):
        yield from (value + 1, value + 0.5, -value - 1, str(value))
    elif isinstance(value, list):
        yield from ([*value, value[0]], value[1:], value[::-1] if value[::-1] != value else [])
    elif isinstance(value, dict):
        yield from ({**value, "more": 1}, dict(list(value.items())[1:]))
    yield None


def test_a_signed_certificate_is_read_as_it_was_written() -> None:
    assert verify(FILE, TRUSTED, NOW) == certificate()
    file = verify_file(FILE, TRUSTED, NOW)
    assert (file.signature.name, file.signature.key) == ("night shift", KEY.public)


@pytest.mark.parametrize("way", [way for way, _ in walk(DOCUMENT)], ids=lambda way: ".".join(map(str, way)))
def test_no_value_can_be_changed(way: Way) -> None:
    value: Any = DOCUMENT
    for part in way:
        value = value[part]
    for other in others(value):
        refused(replaced(way, other))


def test_every_field_of_the_sample_holds_something_to_be_changed() -> None:
    assert not [way for way, value in walk(DOCUMENT) if value in ("", None) or value in ([], {})]


@given(st.integers(0, len(FILE) - 1), st.integers(0, 255))
def test_a_changed_byte_changes_nothing_or_refuses_the_file(place: int, byte: int) -> None:
    damaged = FILE[:place] + bytes([byte]) + FILE[place + 1 :]
    try:
        read = verify(damaged, TRUSTED, NOW)
    except CertificateRefused:
        return
    assert read == certificate()


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_refused_in_words(content: bytes) -> None:
    refused(content)


@pytest.mark.parametrize("indent", [None, 0, 4])
@pytest.mark.parametrize("escaped", [True, False])
def test_a_file_that_is_laid_out_anew_still_holds(indent: int | None, escaped: bool) -> None:
    reversed_fields = {name: dict(reversed(DOCUMENT[name].items())) for name in reversed(DOCUMENT)}
    text = json.dumps(reversed_fields, indent=indent, ensure_ascii=escaped)
    assert verify(text.encode(), TRUSTED, NOW) == certificate()


def test_a_file_that_a_program_with_one_kind_of_number_wrote_still_holds() -> None:
    assert b'"restore_seconds": 61.0' in FILE
    assert verify(FILE.replace(b": 61.0", b": 61"), TRUSTED, NOW) == certificate()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"verdict": "match",', b'"verdict": "match", "verdict": "match",'),
        (b'"shard": "shard-1",', b'"shard": "shard-2", "shard": "shard-1",'),
        (b'"signature": {', b'"signature": {}, "signature": {'),
    ],
)
def test_a_field_that_is_there_twice_is_refused(before: bytes, after: bytes) -> None:
    assert "is there twice" in refused(FILE.replace(before, after, 1))


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e999"])
def test_a_number_that_is_none_is_refused(number: bytes) -> None:
    assert "is not a number" in refused(FILE.replace(b": 61.0", b": " + number))


@pytest.mark.parametrize("depth", [300, 490, 900, 2000, 100_000])
@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")])
def test_a_file_that_is_nested_too_deep_is_refused(depth: int, brackets: tuple[bytes, bytes]) -> None:
    nested = brackets[0] * depth + b"1" + brackets[1] * depth
    refused(b'{"certificate": ' + nested + b"}")
    refused(FILE.replace(b'"shard": "shard-1"', b'"shard": ' + nested))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it cannot be read as JSON"),
        (b"relight", "it cannot be read as JSON"),
        (b"\xff\xfe", "it cannot be read as JSON"),
        (b"[]", "it is not a certificate"),
        (b"{}", "it is not a certificate: certificate: Field required"),
        (json.dumps(DOCUMENT["certificate"]).encode(), "it is not a certificate: certificate: Field required"),
        (json.dumps({**DOCUMENT, "\x1b[2J": 1}).encode(), r"it is not a certificate: '\x1b[2J': Extra inputs"),
        (json.dumps({**DOCUMENT, "certificate": {}}).encode(), "it has no version"),
        (json.dumps(replaced(("certificate", "version"), "1")).encode(), "it has no version"),
        (json.dumps(replaced(("certificate", "version"), 2)).encode(), "its version is 2"),
        (json.dumps(replaced(("signature", "key"), "hunter2")).encode(), "signature.key: not a public key"),
        (json.dumps(replaced(("signature", "algorithm"), "none")).encode(), "signature.algorithm: "),
    ],
)
def test_what_is_no_certificate_is_said_so(content: bytes, said: str) -> None:
    assert said in refused(content)


@pytest.mark.parametrize("trusted", [set(), {OTHER_KEY.public}, {SECRET}])
def test_a_key_that_is_not_trusted_is_named(trusted: set[str]) -> None:
    assert f"not trusted: {fingerprint(KEY.public)}" in refused(FILE, trusted=trusted)


def test_a_trusted_key_does_not_make_another_ones_signature_fit() -> None:
    document = replaced(("signature", "key"), OTHER_KEY.public)
    assert "does not fit" in refused(document, trusted={OTHER_KEY.public, KEY.public})


@pytest.mark.parametrize("other", [KEY.sign(certificate(run_id="manual-2")), OTHER_KEY.sign(certificate())])
def test_a_signature_of_another_certificate_or_key_does_not_fit(other: bytes) -> None:
    document = replaced(("signature", "value"), json.loads(other)["signature"]["value"])
    assert "does not fit" in refused(document)


@pytest.mark.parametrize("key", [KEY, OTHER_KEY])
def test_the_signature_of_another_certificate_does_not_fit_as_a_whole(key: SigningKey) -> None:
    other = json.loads(key.sign(certificate(run_id="manual-2")))
    document = {**DOCUMENT, "signature": other["signature"]}
    assert "does not fit" in refused(document, trusted={KEY.public, OTHER_KEY.public})


def test_what_the_key_signed_for_something_else_is_no_certificate() -> None:
    private = Ed25519PrivateKey.from_private_bytes(decoded(SECRET))
    value = encoded(private.sign(canonical(DOCUMENT["certificate"])))
    assert "does not fit" in refused(replaced(("signature", "value"), value))


@pytest.mark.parametrize(
    "changed",
    [
        {"verdict": "mismatch"}, {"colour": "red"}, {"gtids": "all of them"}, {"reaches": "2026-11-22T19:00:00"},
        {"verdict": "inconclusive", "approved_by": ""},
        {"tables": [table("mismatch").model_dump(mode="json")]},
    ],
)  # fmt: skip
def test_what_no_certificate_may_say_is_refused_even_when_it_is_signed(changed: dict[str, Any]) -> None:
    assert "it is not a certificate" in refused(signed_by_hand({**DOCUMENT["certificate"], **changed}))


def signed_by_hand(certificate: dict[str, Any]) -> dict[str, Any]:
    """As the description in signing.py says, without its code."""
    signer = {name: value for name, value in DOCUMENT["signature"].items() if name != "value"}
    plain = parsed(json.dumps(certificate).encode("utf-8"))
    message = b"relight-certificate-v1\n" + canonical(signer) + b"\n" + canonical(plain)
    value = encoded(Ed25519PrivateKey.from_private_bytes(decoded(SECRET)).sign(message))
    return {"certificate": certificate, "signature": {**signer, "value": value}}


def test_what_is_signed_is_what_is_described() -> None:
    assert signed_by_hand(DOCUMENT["certificate"]) == DOCUMENT


@pytest.mark.parametrize("late", [timedelta(0), timedelta(seconds=1), timedelta(days=900)])
def test_an_expired_certificate_is_refused_and_says_since_when(late: timedelta) -> None:
    assert "expired at 2026-11-23T19:02:11Z" in refused(FILE, now=ISSUED + VALID_FOR + late)
    assert verify(FILE, TRUSTED, ISSUED + VALID_FOR - timedelta(seconds=1))


def test_a_certificate_of_the_future_is_refused_beyond_what_clocks_may_differ() -> None:
    assert verify(FILE, TRUSTED, ISSUED - timedelta(minutes=5))
    assert "not valid yet" in refused(FILE, now=ISSUED - timedelta(minutes=5, seconds=1))
