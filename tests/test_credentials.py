"""Logins in the environment: Relight's own variables, and Airflow's Connections."""

from __future__ import annotations

import pytest

from relight.credentials import EnvironmentCredentials, Login
from relight.errors import CredentialsMissing, FleetError, RelightError


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
