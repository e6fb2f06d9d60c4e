"""A Connection in the environment is one login, whoever reads it: Airflow in a task, or the command line beside it."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from airflow.models.connection import Connection

from relight.credentials import EnvironmentCredentials, Login
from relight.errors import FleetError

ODD = "p@ss:w/ord%20 +?#[é]{}'\""


@pytest.mark.parametrize(
    "text",
    [
        f"mysql://relight:{quote(ODD, safe='')}@/", f"mysql://re%40light:{quote(ODD, safe='')}@db-1:3306/shop?charset=utf8",
        "aws://relight:plain@", f"  mysql://relight:{quote(ODD, safe='')}@/ ",
        json.dumps({"conn_type": "mysql", "login": "relight", "password": ODD, "extra": {"a": 1}}),
    ],
)  # fmt: skip
def test_it_is_read_as_airflow_reads_it(text: str) -> None:
    theirs = as_airflow(text)
    ours = EnvironmentCredentials({"AIRFLOW_CONN_RELIGHT_ADMIN": text}).login("admin")
    assert ours == Login(theirs.login, theirs.password)


@pytest.mark.parametrize(
    "text",
    [
        "generic://relight@/", "generic://relight:@/", json.dumps({"conn_type": "generic", "login": "relight"}),
        json.dumps({"conn_type": "generic", "login": "relight", "password": ""}),
        json.dumps({"conn_type": "generic", "login": "relight", "password": None}),
    ],
)  # fmt: skip
def test_a_password_that_airflow_reads_as_none_is_one_that_was_not_filled_in(text: str) -> None:
    assert not as_airflow(text).password
    with pytest.raises(FleetError, match="its password is empty"):
        EnvironmentCredentials({"AIRFLOW_CONN_RELIGHT_ADMIN": text}).login("admin")


def as_airflow(text: str) -> Connection:
    if text.startswith("{"):
        return Connection.from_json(text, conn_id="c")
    return Connection(conn_id="c", uri=text.strip())
