"""The lab's passwords: random, in one file that only the owner can read."""

from __future__ import annotations

import os

from relight.certificate.signing import SigningKey, own_key
from relight.credentials import EnvironmentCredentials, Login
from relight.errors import LabError, command_line
from relight.lab.place import Place
from relight.lab.template import Logins

_PURPOSES = ("ADMIN", "REPLICATION", "STORE", "CERTIFICATE", "APPLICATION")


def write(place: Place, logins: Logins, store: Login) -> None:
    """Write ``credentials.env``: what EnvironmentCredentials reads, and the application's account."""
    made = (logins.admin, logins.replication, store, _signing_key(place).login, logins.application)
    known = dict(zip(_PURPOSES, made, strict=True))
    lines = ["# Passwords of the lab, made for it alone. To use them: set -a; . .lab/credentials.env"]
    for purpose, login in known.items():
        lines += [f"RELIGHT_{purpose}_USER={login.user}", f"RELIGHT_{purpose}_PASSWORD={login.password}"]
    temporary = place.credentials_file.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write("\n".join(lines) + "\n")
    temporary.replace(place.credentials_file)


def _signing_key(place: Place) -> SigningKey:
    """The key that is there already, so that certificates from before still count; else a new one."""
    return own_key(EnvironmentCredentials(read(place))) or SigningKey.new("lab")


def read(place: Place) -> dict[str, str]:
    """The variables in ``credentials.env``; empty when the lab was never up."""
    try:
        lines = place.credentials_file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def login(place: Place, purpose: str) -> Login:
    """A login of the lab: admin, replication, store, certificate or application. :raises LabError: never was up."""
    known = read(place)
    user = known.get(f"RELIGHT_{purpose.upper()}_USER")
    password = known.get(f"RELIGHT_{purpose.upper()}_PASSWORD")
    if not user or not password:
        raise LabError(
            "the lab has no accounts yet", on=str(place.credentials_file), hint=f"run: {command_line('lab', 'up')}"
        )
    return Login(user, password)


def environment(place: Place) -> dict[str, str]:
    """What a program needs in its environment to work on the lab: fleet file and logins."""
    return {"RELIGHT_FLEET": str(place.fleet_file), "RELIGHT_LAB": str(place.root), **read(place)}
