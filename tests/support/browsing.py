"""A real browser that looks at pages as a person would, and complains of what a person could not use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from relight.lab.browser import ARGUMENTS, find_browser
from relight.lab.place import Place

Look = Literal["light", "dark", "phone", "phone dark"]
LOOKS: tuple[Look, ...] = ("light", "dark", "phone")

_BEYOND = """[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1
  && !e.closest('.scroll, .away')).slice(0, 5).map(e => e.outerHTML.slice(0, 120))"""


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    found = find_browser(Place.find())
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=str(found.program), args=list(ARGUMENTS), env={**found.environment} or None
        )
        yield made
        made.close()


@dataclass
class Visit:
    """A page that is open, and what its console has said."""

    page: Page
    said: list[str] = field(default_factory=list)

    def assert_fit(self) -> None:
        """Nothing went wrong in it, nothing is wider than the window, and people who cannot see it can use it."""
        assert not self.said, self.said
        width = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert width[0] <= width[1], self.page.evaluate(_BEYOND)
        found = Axe().run(self.page).response["violations"]
        told = [(one["id"], one["help"], [node["target"] for node in one["nodes"][:3]]) for one in found]
        assert not told, told


def token(url: str, user: str, password: str) -> str:
    """What Airflow gives a person who signs in."""
    answer = httpx.post(f"{url}/auth/token", json={"username": user, "password": password})
    answer.raise_for_status()
    return str(answer.json()["access_token"])


@contextmanager
def visit(made: Browser, url: str, path: str, session: str, look: Look = "light") -> Iterator[Visit]:
    """Open a page as somebody who is signed in."""
    phone = look.startswith("phone")
    context = made.new_context(
        viewport={"width": 390, "height": 844} if phone else {"width": 1280, "height": 900},
        color_scheme="dark" if "dark" in look else "light", has_touch=phone,
    )  # fmt: skip
    context.add_cookies([{"name": "_token", "value": session, "url": url}])
    opened = Visit(context.new_page())

    def listen(message: Any) -> None:
        if message.type in ("error", "warning"):
            opened.said.append(message.text)

    opened.page.on("console", listen)
    opened.page.on("pageerror", lambda error: opened.said.append(str(error)))
    opened.page.goto(url + path)
    yield opened
    context.close()
