"""Announcing by a hook: the announcement is sent as JSON to an address of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from relight.announcing.base import Endpoint
from relight.announcing.settings import HttpAnnounce
from relight.credentials import Credentials, login_if_any
from relight.errors import AnnounceFailed, AnnounceUnavailable, FleetError

ATTEMPTS = 4
_PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


@dataclass(frozen=True)
class HttpAnnouncer:
    """Calls the hook. With the credential ``hook``, its password is sent as a bearer token."""

    settings: HttpAnnounce
    credentials: Credentials
    pause: float = 0.5
    """Seconds before the second attempt; doubled with each further one."""

    @property
    def name(self) -> str:
        """The address, without what it may be asked with."""
        parts = urlsplit(self.settings.url)
        return f"hook {parts.scheme}://{parts.netloc}{parts.path}"

    def announce(self, endpoint: Endpoint) -> None:
        """Send it with ``"open": true``."""
        self._send(endpoint, is_open=True)

    def withdraw(self, endpoint: Endpoint) -> None:
        """Send it with ``"open": false``."""
        self._send(endpoint, is_open=False)

    def _send(self, endpoint: Endpoint, *, is_open: bool) -> None:
        token = self._token()
        headers = {"Idempotency-Key": idempotency_key(endpoint, is_open=is_open)}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        again = Retrying(
            retry=retry_if_exception_type(AnnounceUnavailable), stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential(self.pause, max=8), reraise=True,
        )  # fmt: skip
        again(self._attempt, endpoint.document(is_open=is_open), headers, token)

    def _attempt(self, document: dict[str, object], headers: dict[str, str], token: str) -> None:
        settings = self.settings
        try:
            answer = httpx.request(
                settings.method, settings.url, json=document, headers=headers, timeout=settings.timeout_s
            )
        except httpx.InvalidURL as error:
            raise AnnounceFailed("the hook's address is malformed", on=self.name, why=str(error)) from None
        except httpx.HTTPError as error:
            raise AnnounceUnavailable(
                "the hook does not answer", on=self.name, why=str(error) or type(error).__name__,
                hint="is it running, and can the promoted server's machine reach it?",
            ) from None  # fmt: skip
        if answer.is_success:
            return
        said = " ".join(answer.text.split())[:300]
        if token:
            said = said.replace(token, "***")
        passing = answer.is_server_error or answer.status_code in _PASSING
        kind = AnnounceUnavailable if passing else AnnounceFailed
        raise kind(
            "the hook has not taken it", on=self.name, why=f"{answer.status_code} {answer.reason_phrase}: {said}",
            hint="look at the hook's own log; its token is the credential 'hook'",
        )  # fmt: skip

    def _token(self) -> str:
        login = login_if_any(self.credentials, "hook")
        if login is None:
            return ""
        # What cannot stand in a header would be quoted in the error of whoever refuses it.
        if not login.password.isascii() or not login.password.isprintable() or " " in login.password:
            raise FleetError("the hook's token is malformed", on="hook", hint="it must be one word of ASCII characters")
        return login.password


def idempotency_key(endpoint: Endpoint, *, is_open: bool) -> str:
    """The same for every attempt at one announcement. What is opened again after it was closed is another one."""
    state = "open" if is_open else "closed"
    return f"{endpoint.shard}-{endpoint.epoch}-{state}-{endpoint.at:%Y%m%dT%H%M%S%f}"
