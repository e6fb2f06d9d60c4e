"""How a shard's source is announced, as the fleet file says it. Several ways may be used at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from relight.host import Host, HttpAddress, Port

Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
Arguments = Annotated[tuple[str, ...], Field(min_length=1)]


class _Setting(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def place(self, machine: str) -> str:  # noqa: ARG002  (for those that are bound to one)
        """What two shards cannot share, seen from the ``machine`` that announces; empty where they can."""
        return ""


class FileAnnounce(_Setting):
    """A JSON file on the machine of the promoted server."""

    kind: Literal["file"]
    path: Path

    def place(self, machine: str) -> str:
        """The file."""
        return f"{machine}:{self.path}"

    @field_validator("path")
    @classmethod
    def _plain(cls, value: Path) -> Path:
        if not value.is_absolute() or ".." in value.parts:
            raise ValueError("must be an absolute path without '..'")
        if not value.name:
            raise ValueError("must name a file")
        return value


class CommandAnnounce(_Setting):
    """A command for each direction, as lists of arguments."""

    kind: Literal["command"]
    announce: Arguments
    withdraw: Arguments
    timeout_s: Seconds = 30


class HttpAnnounce(_Setting):
    """A hook that is called with the announcement as JSON."""

    kind: Literal["http"]
    url: HttpAddress
    method: Literal["POST", "PUT"] = "POST"
    timeout_s: Seconds = 10

    @field_validator("url")
    @classmethod
    def _without_a_secret(cls, value: str) -> str:
        if "@" in urlsplit(value).netloc:
            raise ValueError("must not hold a login: the hook's token is the credential 'hook'")
        return value


class ProxySQLAnnounce(_Setting):
    """The shard's writer hostgroup in one ProxySQL, by its admin interface."""

    kind: Literal["proxysql"]
    host: Host = "127.0.0.1"
    port: Port = 6032
    hostgroup: int = Field(ge=0)

    def place(self, machine: str) -> str:
        """The hostgroup."""
        where = machine if self.host in ("127.0.0.1", "localhost", "::1") else self.host
        return f"hostgroup {self.hostgroup} of ProxySQL {where}:{self.port}"


class AirflowConnectionAnnounce(_Setting):
    """An Airflow Connection whose host and port are kept up to date."""

    kind: Literal["airflow_connection"]
    connection_id: str = Field(pattern=r"^[\w.-]+$", max_length=200)

    def place(self, machine: str) -> str:  # noqa: ARG002  (Airflow is the same from everywhere)
        """The Connection."""
        return f"Connection {self.connection_id}"


Announce = Annotated[
    FileAnnounce | CommandAnnounce | HttpAnnounce | ProxySQLAnnounce | AirflowConnectionAnnounce,
    Field(discriminator="kind"),
]
