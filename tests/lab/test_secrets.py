"""The lab's passwords: all that are needed, and the signing key stays the same."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from relight.certificate.signing import own_key
from relight.credentials import EnvironmentCredentials, Login, Needed
from relight.errors import LabError
from relight.lab import executors, secrets
from relight.lab.place import Place
from relight.lab.template import Logins


def test_every_login_is_there_for_commands_and_for_airflow(tmp_path: Path) -> None:
    place = Place(tmp_path)
    secrets.write(place, Logins.random(), Login("store", "hunter2"))
    credentials = EnvironmentCredentials(secrets.read(place))
    for purpose in get_args(Needed):
        assert credentials.login(purpose) == secrets.login(place, purpose)
    assert own_key(credentials) is not None


def test_a_lab_that_is_started_again_still_trusts_its_certificates(tmp_path: Path) -> None:
    place = Place(tmp_path)
    secrets.write(place, Logins.random(), Login("store", "hunter2"))
    before = secrets.login(place, "certificate")
    secrets.write(place, Logins.random(), Login("store", "other"))
    assert secrets.login(place, "certificate") == before


def test_an_empty_password_in_the_file_is_no_account(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.credentials_file.write_text("RELIGHT_ADMIN_USER=relight\nRELIGHT_ADMIN_PASSWORD=\n", encoding="utf-8")
    with pytest.raises(LabError, match="no accounts"):
        secrets.login(place, "admin")


def test_a_password_of_redis_and_postgresql_that_was_not_written_to_its_end_is_made_anew(tmp_path: Path) -> None:
    # Killed right behind making the file: Redis would let in anybody.
    (tmp_path / "services.password").touch()
    made = executors._password(tmp_path)
    assert len(made) > 20
    assert executors._password(tmp_path) == made
    assert (tmp_path / "services.password").stat().st_mode & 0o777 == 0o600


def test_no_two_labs_have_the_same_key(tmp_path: Path) -> None:
    made = set()
    for name in ("one", "two"):
        place = Place(tmp_path / name)
        place.root.mkdir()
        secrets.write(place, Logins.random(), Login("store", "hunter2"))
        made.add(secrets.login(place, "certificate").password)
    assert len(made) == 2
