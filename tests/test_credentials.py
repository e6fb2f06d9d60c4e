"""A login is whole or it is refused: what is empty, a library would fill in by itself."""

from __future__ import annotations

from typing import get_args

import pytest

from relight.credentials import EnvironmentCredentials, Login, Purpose, login_if_any
from relight.errors import CredentialsMissing, FleetError

PURPOSES = get_args(Purpose)


def variables(purpose: str, user: str, password: str) -> dict[str, str]:
    return {f"RELIGHT_{purpose.upper()}_USER": user, f"RELIGHT_{purpose.upper()}_PASSWORD": password}


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_whole_login_is_given_as_it_stands(purpose: Purpose) -> None:
    credentials = EnvironmentCredentials(variables(purpose, "relight", " it's \\ odd "))
    assert credentials.login(purpose) == Login("relight", " it's \\ odd ")


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize(("user", "password"), [("", "s3cret"), ("relight", ""), ("", "")])
def test_an_empty_user_or_password_is_refused_by_name_and_no_login(purpose: Purpose, user: str, password: str) -> None:
    # PyMySQL takes the account of the operating system for an empty user; a hook is called without a token.
    credentials = EnvironmentCredentials(variables(purpose, user, password))
    with pytest.raises(FleetError) as refused:
        login_if_any(credentials, purpose)
    assert not isinstance(refused.value, CredentialsMissing)
    for name, value in variables(purpose, user, password).items():
        assert (f"{name}" in refused.value.why) == (not value)
    assert "empty" in refused.value.why
    assert "s3cret" not in refused.value.with_hint()


def test_half_a_login_is_refused_and_none_is_missing() -> None:
    with pytest.raises(FleetError, match="not set: RELIGHT_HOOK_USER; empty: RELIGHT_HOOK_PASSWORD"):
        EnvironmentCredentials({"RELIGHT_HOOK_PASSWORD": ""}).login("hook")
    assert login_if_any(EnvironmentCredentials({}), "hook") is None
