"""Logins in the environment: Relight's own variables, and Airflow's Connections."""

from __future__ import annotations

from typing import get_args

import pytest

from relight.credentials import EnvironmentCredentials, Login, Purpose, login_if_any
from relight.errors import CredentialsMissing, FleetError, RelightError

PURPOSES = get_args(Purpose)


def test_a_connection_in_the_environment_is_a_login() -> None:
    known = EnvironmentCredentials({"AIRFLOW_CONN_RELIGHT_STORE": "aws://relight:s3cret@/"})
    assert known.login("store") == Login("relight", "s3cret")
    assert known.has("store")
    assert not known.has("admin")


def test_its_own_variables_come_first() -> None:
    known = {"AIRFLOW_CONN_RELIGHT_STORE": "aws://other:other@/"}
    known |= {"RELIGHT_STORE_USER": "relight", "RELIGHT_STORE_PASSWORD": "s3cret"}
    assert EnvironmentCredentials(known).login("store") == Login("relight", "s3cret")


def test_half_of_its_own_is_not_made_whole_by_another_login() -> None:
    known = {"AIRFLOW_CONN_RELIGHT_STORE": "aws://other:other@/", "RELIGHT_STORE_USER": "relight"}
    with pytest.raises(FleetError, match="RELIGHT_STORE_PASSWORD"):
        EnvironmentCredentials(known).login("store")


@pytest.mark.parametrize("text", ["", None])
def test_no_connection_is_no_login(text: str | None) -> None:
    with pytest.raises(CredentialsMissing):
        EnvironmentCredentials({} if text is None else {"AIRFLOW_CONN_RELIGHT_HOOK": text}).login("hook")


@pytest.mark.parametrize(
    "known",
    [
        {"RELIGHT_ADMIN_USER": "", "RELIGHT_ADMIN_PASSWORD": "hunter2"},
        *(
            {"AIRFLOW_CONN_RELIGHT_ADMIN": text}
            for text in (
                "hunter2", "mysql://:hunter2@/", "mysql://", '{"password": "hunter2"}', '{"login": "", "password": "hunter2"}',
                '{"login": null}', '{"login": 7, "password": "hunter2"}', '{"login": "hunter2"', "mysql://u:hunter2@[/",
            )
        ),
    ],
)  # fmt: skip
def test_a_login_without_a_user_is_refused_and_no_password_is_told(known: dict[str, str]) -> None:
    """A client takes no user for the account that the process runs as."""
    with pytest.raises(RelightError) as refused:
        EnvironmentCredentials(known).login("admin")
    assert not isinstance(refused.value, CredentialsMissing)
    assert "hunter2" not in refused.value.with_hint()


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


@pytest.mark.parametrize("text", ["mysql://relight@/", '{"login": "relight"}', '{"login": "relight", "password": ""}'])
def test_a_connection_in_the_environment_without_a_password_is_refused(text: str) -> None:
    with pytest.raises(FleetError, match="its password is empty"):
        EnvironmentCredentials({"AIRFLOW_CONN_RELIGHT_ADMIN": text}).login("admin")
