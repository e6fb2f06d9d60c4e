"""Who Relight logs in as. Secrets never stand in the fleet file, in logs or in reports.

Three logins are always needed: ``admin`` (the servers' administrative account), ``replication`` (the
account that replicas and clones use) and ``store`` (access key and secret of the object store). A fourth,
``certificate``, is needed where promotion certificates are signed: the key's name and its secret. Verifying
one takes the public key only, which is no secret and stands in the fleet file.

Where shards are announced, there may be more: ``proxysql`` (an account of ProxySQL's admin interface), ``hook`` (its
password is the token that hooks are called with; the user does not matter) and ``airflow`` (an account of Airflow that
may change Connections).
The CLI takes them from the environment, Airflow from its Connections; which may stand in the environment too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol
from urllib.parse import unquote, urlsplit

from relight.errors import CredentialsMissing, FleetError

Needed = Literal["admin", "replication", "store", "certificate"]
Purpose = Literal[Needed, "proxysql", "hook", "airflow"]


@dataclass(frozen=True)
class Login:
    """A user name (or access key) and its password (or secret), which ``repr`` does not show."""

    user: str
    password: str = field(repr=False)


class Credentials(Protocol):
    """Where logins come from."""

    def login(self, purpose: Purpose) -> Login:
        """The login for a purpose; CredentialsMissing when there is none, FleetError when it is not whole."""
        ...


def login_if_any(credentials: Credentials, purpose: Purpose) -> Login | None:
    """The login for a purpose, None where there is none. :raises FleetError: there is half of one."""
    try:
        return credentials.login(purpose)
    except CredentialsMissing:
        return None


@dataclass(frozen=True)
class EnvironmentCredentials:
    """Logins from ``RELIGHT_<PURPOSE>_USER`` and ``RELIGHT_<PURPOSE>_PASSWORD``.

    Where neither is set, from the Airflow Connection in ``AIRFLOW_CONN_RELIGHT_<PURPOSE>``: on a machine whose worker
    gets its Connections from the environment, every secret is there once, and the command line works too.
    """

    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def has(self, purpose: Purpose) -> bool:
        """Whether any of these variables is set."""
        return any(name in self.environment for name in (*_names(purpose), _connection_name(purpose)))

    def login(self, purpose: Purpose) -> Login:
        """The login for a purpose.

        :raises CredentialsMissing: there is none. FleetError: it is not whole. For an empty user PyMySQL takes the
            account of the operating system, and an empty password is one that was not filled in.
        """
        names = _names(purpose)
        missing = [name for name in names if name not in self.environment]
        if missing == names and self.environment.get(_connection_name(purpose)):
            return self._of_connection(purpose)
        empty = [name for name in names if self.environment.get(name) == ""]
        if missing or empty:
            kind = CredentialsMissing if missing == names else FleetError
            faults = {"not set": missing, "empty": empty}
            raise kind(
                f"no credentials for {purpose}", on=purpose,
                why="; ".join(f"{fault}: {', '.join(those)}" for fault, those in faults.items() if those),
                hint="set them in the environment; the README lists the accounts that are needed",
            )  # fmt: skip
        return Login(*(self.environment[name] for name in names))

    def _of_connection(self, purpose: Purpose) -> Login:
        name = _connection_name(purpose)
        try:
            user, password = _parse_connection(self.environment[name])
        except ValueError:
            # What is wrong is not quoted: it holds the password.
            raise FleetError(
                f"no credentials for {purpose}", on=name, why="it is neither a URI nor an object in JSON",
                hint="Airflow's documentation says how a Connection is written in the environment",
            ) from None  # fmt: skip
        for part, value in (("user", user), ("password", password)):
            if not value:
                raise FleetError(
                    f"no credentials for {purpose}", on=name, why=f"its {part} is empty",
                    hint="the README lists the accounts that are needed",
                )  # fmt: skip
        return Login(user, password)


def _names(purpose: Purpose) -> list[str]:
    return [f"RELIGHT_{purpose.upper()}_{part}" for part in ("USER", "PASSWORD")]


def _connection_name(purpose: Purpose) -> str:
    return f"AIRFLOW_CONN_RELIGHT_{purpose.upper()}"


def _parse_connection(text: str) -> tuple[str, str]:
    """User and password of a Connection as Airflow reads it, from JSON or a URI. ValueError where it is neither."""
    text = text.strip()
    if text.startswith("{"):
        read = json.loads(text)
        user, password = read.get("login") or "", read.get("password") or ""
        if not (isinstance(user, str) and isinstance(password, str)):
            raise ValueError
        return user, password
    uri = urlsplit(text)
    if not uri.scheme:
        raise ValueError
    return unquote(uri.username or ""), unquote(uri.password or "")
