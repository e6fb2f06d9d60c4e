"""A Connection in the environment is one login, whoever reads it: Airflow in a task, or the command line beside it."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from airflow.models.connection import Connection

from relight.credentials import EnvironmentCredentials, Login

ODD = "p@ss:w/ord%20 +?#[é]{}'\""


@pytest.mark.parametrize(
    "text",
    [
        f"mysql://relight:{quote(ODD, safe='')}@/", f"mysql://re%40light:{quote(ODD, safe='')}@db-1:3306/shop?charset=utf8",
        "aws://relight:plain@", "generic://relight@/", f"  mysql://relight:{quote(ODD, safe='')}@/ ",
        json.dumps({"conn_type": "mysql", "login": "relight", "password": ODD, "extra": {"a": 1}}),
        json.dumps({"conn_type": "generic", "login": "relight", "password": ""}),
        json.dumps({"conn_type": "generic", "login": "relight", "password": None}),
        json.dumps({"conn_type": "generic", "login": "relight"}),
    ],
)  # fmt: skip
def test_it_is_read_as_airflow_reads_it(text: str) -> None:
    theirs = (
        Connection.from_json(text, conn_id="c") if text.startswith("{") else Connection(conn_id="c", uri=text.strip())
    )
    ours = EnvironmentCredentials({"AIRFLOW_CONN_RELIGHT_ADMIN": text}).login("admin")
    assert ours == Login(theirs.login, theirs.password or "")
