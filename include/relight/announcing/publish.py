"""Telling everybody: one that fails keeps none of the others from being told."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from relight.announcing.base import Announcer, Endpoint
from relight.errors import AnnounceFailed, AnnounceUnavailable, RelightError


def announce_all(announcers: Sequence[Announcer], endpoint: Endpoint) -> tuple[str, ...]:
    """Send applications to the endpoint, by every announcer, in order. Gives their names.

    :raises AnnounceFailed: names every announcer that failed, and why. AnnounceUnavailable: the same, where another
        try can help at least one of them.
    """
    return _everywhere("announced", announcers, lambda one: one.announce(endpoint), endpoint)


def withdraw_all(announcers: Sequence[Announcer], endpoint: Endpoint) -> tuple[str, ...]:
    """Send applications nowhere, by every announcer, in order. Gives their names. To be done before a server is closed.

    :raises AnnounceFailed: as :func:`announce_all`.
    """
    return _everywhere("withdrawn", announcers, lambda one: one.withdraw(endpoint), endpoint)


def _everywhere(
    what: str, announcers: Sequence[Announcer], tell: Callable[[Announcer], None], endpoint: Endpoint
) -> tuple[str, ...]:
    failures: list[tuple[str, RelightError]] = []
    for announcer in announcers:
        try:
            tell(announcer)
        except RelightError as error:  # credentials may be missing as well
            failures.append((announcer.name, error))
    if not failures:
        return tuple(announcer.name for announcer in announcers)
    # Another try does no harm where it cannot help.
    kind = AnnounceUnavailable if any(error.retryable for _, error in failures) else AnnounceFailed
    raise kind(
        f"the shard could not be {what} everywhere: {len(failures)} of {len(announcers)} failed",
        on=f"{endpoint.shard} at {endpoint.host}:{endpoint.port}",
        why="; ".join(f"{name}: {error.what}{error.why and f' ({error.why})'}" for name, error in failures),
        hint="; ".join(dict.fromkeys(error.hint for _, error in failures if error.hint)),
    )
