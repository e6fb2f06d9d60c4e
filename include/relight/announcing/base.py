"""What every way of announcing has in common: the endpoint, the interface, and that newer is never overwritten."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, TypeAlias

from pydantic import AwareDatetime, Field

from relight.backups.manifest import Value
from relight.credentials import Credentials
from relight.errors import AnnounceFailed
from relight.server.session import Session


class Endpoint(Value):
    """Where a shard takes writes. ``epoch`` grows with every promotion of the shard."""

    shard: str
    role: Literal["source"] = "source"
    server: str
    host: str
    port: int
    server_uuid: str
    epoch: int = Field(ge=0)
    gtids: str
    """What the server had executed when it was announced."""
    at: AwareDatetime

    def document(self, *, is_open: bool) -> dict[str, Any]:
        """What is published, ready for JSON: every field, and ``open``."""
        return {**self.model_dump(mode="json"), "open": is_open}


def endpoint_of(session: Session, shard: str, epoch: int) -> Endpoint:
    """The endpoint that the server of a session is."""
    server = session.server
    uuid, gtids = session.row("SELECT @@server_uuid, @@GLOBAL.gtid_executed")
    return Endpoint(
        shard=shard, server=server.name, host=server.host, port=server.port, server_uuid=str(uuid), epoch=epoch,
        gtids="".join(str(gtids).split()), at=datetime.now(UTC),
    )  # fmt: skip


class Announcer(Protocol):
    """One place that tells applications. Both methods may be called again and again with the same endpoint."""

    @property
    def name(self) -> str:
        """What it is and where, for messages."""
        ...

    def announce(self, endpoint: Endpoint) -> None:
        """Send applications to the endpoint. :raises AnnounceFailed: nothing says that they go there."""
        ...

    def withdraw(self, endpoint: Endpoint) -> None:
        """Send applications nowhere. :raises AnnounceFailed: they may still go to the endpoint."""
        ...


Factory: TypeAlias = Callable[[Any, Credentials], Announcer]
"""Makes an announcer of its settings, for what the library itself cannot reach."""


@dataclass(frozen=True)
class Published:
    """What is to be known of an announcement that is already there."""

    shard: str
    epoch: int


def published_in(document: Mapping[str, Any]) -> Published | None:
    """The announcement in a document that was published before; None where it is no such document."""
    shard, epoch = document.get("shard"), document.get("epoch")
    return Published(shard, epoch) if isinstance(shard, str) and isinstance(epoch, int) else None


def refuse_to_overwrite(name: str, published: Published | None, endpoint: Endpoint) -> None:
    """:raises AnnounceFailed: what is published is newer than the endpoint, or another shard's."""
    if published is None:
        return
    if published.shard != endpoint.shard:
        raise AnnounceFailed(
            "another shard is announced there", on=name, why=f"it holds {published.shard}, this is {endpoint.shard}",
            hint="give each shard a place of its own in the fleet file",
        )  # fmt: skip
    if published.epoch > endpoint.epoch:
        raise AnnounceFailed(
            "a newer announcement is not overwritten", on=name,
            why=f"epoch {published.epoch} of {published.shard} is published, this is epoch {endpoint.epoch}",
            hint="a later promotion has taken over; look which server is meant to be the source",
        )  # fmt: skip
