"""A real HTTP server on the other side: what it is sent, and what follows from each answer it may give."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from relight.announcing.http import ATTEMPTS, HttpAnnouncer
from relight.announcing.settings import HttpAnnounce
from relight.credentials import EnvironmentCredentials
from relight.errors import AnnounceFailed, AnnounceUnavailable, FleetError
from tests.announcing.endpoints import endpoint, logins


@dataclass
class Hook:
    """Keeps what it was sent, and gives the answers in order; the last one again and again."""

    answers: list[int | float] = field(default_factory=lambda: [200])
    """A status; or seconds to wait (a float) before the connection is closed without an answer."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def next(self) -> int | float:
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.asked.append(
                {"method": self.command, "path": self.path, "headers": dict(self.headers), "body": json.loads(body)}
            )
            answer = made.next()
            if isinstance(answer, float):
                time.sleep(answer)
                self.close_connection = True
                return
            self.send_response(answer)
            self.end_headers()
            self.wfile.write(f"it said {answer}\nto {self.headers['Authorization']}".encode())

        do_PUT = do_POST  # noqa: N815  (http.server wants it so)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}/announce?room=7"
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def announcer(hook: Hook | str, *, token: str | None = None, **changes: Any) -> HttpAnnouncer:
    url = hook.url if isinstance(hook, Hook) else hook
    settings = HttpAnnounce.model_validate({"kind": "http", "url": url, **changes})
    return HttpAnnouncer(settings, logins(hook=token) if token is not None else logins(), pause=0.01)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_the_hook_is_sent_the_announcement_as_json(hook: Hook, method: str) -> None:
    one = announcer(hook, method=method)
    one.announce(endpoint())
    one.withdraw(endpoint())
    assert [asked["body"] for asked in hook.asked] == [endpoint().document(is_open=yes) for yes in (True, False)]
    for asked in hook.asked:
        assert (asked["method"], asked["path"]) == (method, "/announce?room=7")
        assert asked["headers"]["Content-Type"] == "application/json"
        assert "Authorization" not in asked["headers"]


def test_the_token_is_sent_where_there_is_one(hook: Hook) -> None:
    announcer(hook, token="s3cret").announce(endpoint())
    assert hook.asked[0]["headers"]["Authorization"] == "Bearer s3cret"


@pytest.mark.parametrize("passing", [500, 503, 429, 408, 0.0])
def test_what_passes_is_tried_again_and_every_try_has_the_same_key(hook: Hook, passing: float) -> None:
    hook.answers = [passing, passing, 200]
    announcer(hook).announce(endpoint())
    assert len(hook.asked) == 3
    keys = {asked["headers"]["Idempotency-Key"] for asked in hook.asked}
    assert keys == {"shard-1-3-open-20261124T030405000000"}


def test_closing_and_every_other_epoch_have_keys_of_their_own(hook: Hook) -> None:
    one = announcer(hook)
    one.announce(endpoint(3))
    one.withdraw(endpoint(3))
    one.announce(endpoint(4))
    assert len({asked["headers"]["Idempotency-Key"] for asked in hook.asked}) == 3


def test_a_hook_that_stays_away_is_given_up_in_the_end(hook: Hook) -> None:
    hook.answers = [500]
    with pytest.raises(AnnounceUnavailable, match="500 Internal Server Error: it said 500") as failed:
        announcer(hook).announce(endpoint())
    assert len(hook.asked) == ATTEMPTS
    assert "room=7" not in str(failed.value), "what a hook is asked with may be a secret"


@pytest.mark.parametrize("status", [302, 400, 401, 404, 409])
def test_what_does_not_pass_is_tried_once(hook: Hook, status: int) -> None:
    hook.answers = [status]
    with pytest.raises(AnnounceFailed, match=f"has not taken it .*: {status} ") as failed:
        announcer(hook).announce(endpoint())
    assert not failed.value.retryable
    assert len(hook.asked) == 1


def test_a_hook_that_says_nothing_is_not_waited_for(hook: Hook) -> None:
    hook.answers = [3.0]
    began = time.monotonic()
    with pytest.raises(AnnounceUnavailable, match="does not answer"):
        announcer(hook, timeout_s=0.2).announce(endpoint())
    assert time.monotonic() - began < 2.5
    assert len(hook.asked) == ATTEMPTS


def test_where_nobody_listens_it_is_said_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        with pytest.raises(AnnounceUnavailable, match="Connection refused") as failed:
            announcer(url).announce(endpoint())
    assert url in failed.value.on
    assert failed.value.hint


def test_a_name_that_does_not_exist_is_said_so() -> None:
    with pytest.raises(AnnounceUnavailable, match="does not answer"):
        announcer("http://nowhere.invalid/").announce(endpoint())


def test_the_token_is_in_no_error_even_if_the_hook_repeats_it(hook: Hook) -> None:
    hook.answers = [403]
    with pytest.raises(AnnounceFailed, match=r"to Bearer \*\*\*") as failed:
        announcer(hook, token="s3cret").announce(endpoint())
    assert "s3cret" not in repr(failed.value.args)


@pytest.mark.parametrize("token", ["s3cret\n", "two words", "s3crét"])
def test_a_token_that_cannot_be_sent_is_refused_and_not_repeated(hook: Hook, token: str) -> None:
    with pytest.raises(FleetError, match="the hook's token is malformed") as failed:
        announcer(hook, token=token).announce(endpoint())
    assert "s3cr" not in repr(failed.value.args)
    assert not hook.asked


def test_half_a_credential_is_a_mistake_and_not_taken_for_none(hook: Hook) -> None:
    one = HttpAnnouncer(announcer(hook).settings, EnvironmentCredentials({"RELIGHT_HOOK_PASSWORD": "s3cret"}))
    with pytest.raises(FleetError, match="not set: RELIGHT_HOOK_USER"):
        one.announce(endpoint())
    assert not hook.asked
