"""From what the fleet file says to announcers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from relight.announcing.base import Announcer, Endpoint, Factory
from relight.announcing.command import CommandAnnouncer
from relight.announcing.file import FileAnnouncer
from relight.announcing.http import HttpAnnouncer
from relight.announcing.proxysql import ProxySQLAnnouncer
from relight.announcing.settings import Announce, CommandAnnounce, FileAnnounce, HttpAnnounce, ProxySQLAnnounce
from relight.credentials import Credentials
from relight.errors import AnnounceFailed


def announcers_of(
    settings: Iterable[Announce], credentials: Credentials, extra: Mapping[str, Factory]
) -> list[Announcer]:
    """The announcers in the order of the fleet file.

    :param extra: makes those of further kinds, which the library cannot reach by itself. One of a kind that nobody
        makes fails when it is used, so that the others still do their work.
    """
    return [_announcer_of(one, credentials, extra) for one in settings]


def _announcer_of(settings: Announce, credentials: Credentials, extra: Mapping[str, Factory]) -> Announcer:
    match settings:
        case FileAnnounce():
            return FileAnnouncer(settings)
        case CommandAnnounce():
            return CommandAnnouncer(settings)
        case HttpAnnounce():
            return HttpAnnouncer(settings, credentials)
        case ProxySQLAnnounce():
            return ProxySQLAnnouncer(settings, credentials)
    factory = extra.get(settings.kind)
    return factory(settings, credentials) if factory else _OutOfReach(settings.place(""))


@dataclass(frozen=True)
class _OutOfReach:
    """Stands for an announcer that does not work here."""

    name: str

    def announce(self, endpoint: Endpoint) -> None:  # noqa: ARG002  (it does nothing with it)
        """Say so."""
        raise AnnounceFailed(
            "this kind of announcement works inside Airflow only", on=self.name,
            hint="change it by hand, or let Airflow run the restore",
        )  # fmt: skip

    def withdraw(self, endpoint: Endpoint) -> None:
        """Say so."""
        self.announce(endpoint)
