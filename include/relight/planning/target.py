"""Where to restore to: latest, a time, or a GTID."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from relight.errors import TargetError
from relight.gtid import Gtid


class Target(BaseModel):
    """A point to restore to. ``value`` is empty for latest, an ISO 8601 time, or a GTID.

    A time takes every transaction that was committed at or before it; a GTID takes every
    transaction of the log up to it, itself included.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["latest", "time", "gtid"]
    value: str = ""

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read ``latest``, ``time:2026-11-22T19:00:00Z`` or ``gtid:UUID:N``.

        :raises TargetError: it is none of these; a time without a zone is refused, since nobody
            should have to guess one at night.
        """
        kind, _, value = text.strip().partition(":")
        if kind == "latest" and not value:
            return cls(kind="latest")
        if kind == "time":
            return cls(kind="time", value=_time(value).isoformat())
        if kind == "gtid":
            return cls(kind="gtid", value=str(Gtid.parse(value)))
        raise TargetError(
            "not a target", on=text,
            hint="use latest, time:2026-11-22T19:00:00Z or gtid:SERVER-UUID:NUMBER",
        )  # fmt: skip

    @property
    def time(self) -> datetime:
        """The time of a time target."""
        return _time(self.value)

    @property
    def gtid(self) -> Gtid:
        """The transaction of a GTID target."""
        return Gtid.parse(self.value)

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}" if self.value else self.kind


def _time(text: str) -> datetime:
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise TargetError("not a time", on=text, hint="write it like 2026-11-22T19:00:00Z") from None
    if parsed.tzinfo is None:
        raise TargetError("a time without a time zone", on=text, hint="end it with Z or an offset like +02:00")
    return parsed.astimezone(UTC)
