"""Who Relight logs in as. Secrets never stand in the fleet file, in logs or in reports.

Three logins are always needed: ``admin`` (the servers' administrative account), ``replication`` (the
account that replicas and clones use) and ``store`` (access key and secret of the object store). A fourth,
``certificate``, is needed where promotion certificates are signed: the key's name and its secret. Verifying
one takes the public key only, which is no secret and stands in the fleet file.

Where shards are announced, there may be more: ``proxysql`` (an account of ProxySQL's admin interface), ``hook`` (its
password is the token that hooks are called with; the user does not matter) and ``airflow`` (an account of Airflow that
may change Connections).
The CLI takes them from the environment, Airflow from its Connections.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

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
    """Logins from ``RELIGHT_<PURPOSE>_USER`` and ``RELIGHT_<PURPOSE>_PASSWORD``."""

    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def login(self, purpose: Purpose) -> Login:
        """The login for a purpose.

        :raises CredentialsMissing: neither variable is set. FleetError: one is not, or is empty: for an empty user
            PyMySQL takes the account of the operating system, and an empty password is one that was not filled in.
        """
        names = [f"RELIGHT_{purpose.upper()}_{part}" for part in ("USER", "PASSWORD")]
        missing = [name for name in names if name not in self.environment]
        empty = [name for name in names if self.environment.get(name) == ""]
        if missing or empty:
            kind = CredentialsMissing if missing == names else FleetError
            faults = {"not set": missing, "empty": empty}
            raise kind(
                f"no credentials for {purpose}", on=purpose,
                why="; ".join(f"{fault}: {', '.join(those)}" for fault, those in faults.items() if those),
                hint="set them in the environment; the README lists the accounts that are needed",
            )  # fmt: skip
        return Login(self.environment[names[0]], self.environment[names[1]])
