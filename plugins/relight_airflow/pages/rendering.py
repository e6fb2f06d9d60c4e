"""From values to HTML: templates, what they may call, and headers that keep foreign code out."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse

from relight.forecast.words import duration
from relight.reporting import words
from relight.reporting.page import TEMPLATES

HERE = Path(__file__).parent
STATIC = HERE / "static"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
"""Nothing from elsewhere is loaded, run, or may frame a page; and nothing that stands in a page itself is run."""

PREFIX = "/relight"
"""Where Airflow mounts the pages."""

VIEWS = (
    ("fleet", "Fleet"), ("incident", "Incident"), ("start", "Restore"), ("rehearsals", "Rehearsals"),
)  # fmt: skip


@lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    """The templates of the pages, and those of the report."""
    folders = [HERE / "templates", TEMPLATES]
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    made.filters.update(duration=duration, size=words.size, moment=words.moment)
    return made


@lru_cache(maxsize=1)
def version() -> str:
    """Changes when a static file does, so that browsers do not keep an old one."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def page(request: Request, template: str, *, status: int = 200, view: str = "", **values: Any) -> HTMLResponse:
    """A whole page. ``view`` is the one of ``VIEWS`` that it belongs to."""
    text = (
        environment()
        .get_template(template)
        .render(
            base=base_of(request), here=base_of(request) + PREFIX, view=view, views=VIEWS, version=version(), **values
        )
    )
    return HTMLResponse(text, status)


def part(request: Request, template: str, name: str, **values: Any) -> str:
    """What the macro ``name`` of a template makes of the values."""
    module = (
        environment().get_template(template).make_module({"base": base_of(request), "here": base_of(request) + PREFIX})
    )
    return str(getattr(module, name)(**values)).strip()


def base_of(request: Request) -> str:
    """What stands before the paths of Airflow's own pages: empty, or the path of ``[api] base_url``."""
    return str(request.scope.get("root_path", "")).removesuffix(PREFIX).rstrip("/")
