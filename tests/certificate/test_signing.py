"""Keys: none that is malformed, none that is shown, and nothing signed that would not be read."""

from __future__ import annotations

import json
import traceback

import pytest
from pydantic import ValidationError

from relight.certificate.signing import SigningKey, own_key, trusted_keys
from relight.credentials import EnvironmentCredentials, Login
from relight.errors import FleetError
from relight.fleet import CertificateSettings
from relight.keys import encoded
from tests.support.certificates import KEY, OTHER_KEY, SECRET, TRUSTED, certificate


def malformed(login: Login) -> str:
    with pytest.raises(FleetError, match="the signing key is malformed") as refused:
        SigningKey.of(login)
    assert "relight certificate key" in refused.value.hint
    assert SECRET not in "".join(traceback.format_exception(refused.value))
    assert SECRET not in repr(refused.value.args)
    return str(refused.value)


@pytest.mark.parametrize("password", ["", "hunter2-hunter2", f"{SECRET}x", SECRET[:-1], f"{SECRET}\n", "é"])
def test_a_secret_that_is_no_key_is_refused_and_not_repeated(password: str) -> None:
    text = malformed(Login("night shift", password))
    assert "not the base64 of 32 bytes" in text
    assert "hunter2" not in text


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "\x1b[2J", "x" * 65])
def test_a_key_without_a_usable_name_is_refused(name: str) -> None:
    assert "user name" in malformed(Login(name, SECRET))


def test_a_secret_in_the_place_of_the_name_is_neither_taken_nor_shown() -> None:
    assert "belongs in the password" in malformed(Login(SECRET, encoded(bytes(32))))
    malformed(Login(SECRET, "night shift"))


def test_the_secret_is_in_nothing_that_is_shown() -> None:
    for shown in (repr(KEY), str(KEY), f"{KEY}", repr(KEY.login), repr([KEY]), KEY.sign(certificate()).decode()):
        assert SECRET not in shown
    assert "night shift" in repr(KEY)


def test_a_new_key_is_one_of_its_own_and_can_be_kept_as_a_login() -> None:
    one, other = SigningKey.new("a"), SigningKey.new("a")
    assert one.public != other.public
    assert SigningKey.of(one.login).public == one.public


def test_no_secret_is_its_own_public_key() -> None:
    assert KEY.public != SECRET


def test_what_would_not_be_read_is_not_signed() -> None:
    forged = certificate().model_copy(update={"verdict": "mismatch"})
    with pytest.raises(ValidationError, match="there is no certificate"):
        KEY.sign(forged)


def test_a_certificate_is_signed_the_same_way_every_time() -> None:
    assert KEY.sign(certificate()) == KEY.sign(certificate())
    document = json.loads(KEY.sign(certificate()))
    assert set(document) == {"certificate", "signature"}
    assert document["signature"].keys() == {"algorithm", "key", "name", "value"}
    assert (document["signature"]["algorithm"], document["signature"]["name"]) == ("Ed25519", "night shift")
    assert document["signature"]["key"] in TRUSTED


def test_ones_own_key_counts_besides_those_of_the_fleet_file() -> None:
    settings = CertificateSettings(public_keys=(OTHER_KEY.public,))
    assert trusted_keys(settings) == {OTHER_KEY.public}
    assert trusted_keys(settings, KEY) == {OTHER_KEY.public, KEY.public}
    assert trusted_keys(CertificateSettings()) == frozenset()


def test_ones_own_key_is_none_where_there_is_none_and_a_mistake_where_it_is_malformed() -> None:
    assert own_key(EnvironmentCredentials({})) is None
    known = {"RELIGHT_CERTIFICATE_USER": "night shift", "RELIGHT_CERTIFICATE_PASSWORD": SECRET}
    own = own_key(EnvironmentCredentials(known))
    assert own is not None
    assert own.public == KEY.public
    with pytest.raises(FleetError, match="malformed"):
        own_key(EnvironmentCredentials({**known, "RELIGHT_CERTIFICATE_PASSWORD": "hunter2"}))
