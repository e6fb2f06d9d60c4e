"""The application that Airflow's API server mounts at ``/relight``."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.gzip import GZipMiddleware

from relight.errors import RelightError
from relight_airflow.pages import fleet, incident, rehearsals, report, run, start
from relight_airflow.pages.rendering import POLICY, STATIC, base_of, page
from relight_airflow.pages.site import NoSuchShard

app = FastAPI(title="Relight", docs_url=None, redoc_url=None, openapi_url=None)
app.add_middleware(GZipMiddleware, minimum_size=1024, compresslevel=4)
# Style and scripts are no secrets, and a page that says "sign in" needs them.
app.mount("/static", StaticFiles(directory=STATIC), name="static")
for module in (fleet, incident, run, rehearsals, start, report):
    app.include_router(module.router)


@app.get("/", include_in_schema=False)
def front(request: Request) -> RedirectResponse:
    """The fleet comes first."""
    return RedirectResponse(f"{base_of(request)}/relight/fleet")


@app.middleware("http")
async def keep_foreign_code_out(request: Request, call_next: Any) -> Response:
    """Every answer carries the headers that browsers go by."""
    answer: Response = await call_next(request)
    answer.headers.setdefault("Content-Security-Policy", POLICY)
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Referrer-Policy"] = "same-origin"
    if "/static/" not in request.url.path:
        answer.headers["Cache-Control"] = "no-store"
    return answer


@app.exception_handler(StarletteHTTPException)
async def refused(request: Request, error: HTTPException) -> Response:
    """Not signed in, not allowed, not there: as a page for people, as JSON for scripts."""
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"detail": error.detail}, error.status_code)
    what, hint = _REFUSALS.get(error.status_code, (str(error.detail), ""))
    login = f"{base_of(request)}/auth/login?next={quote(str(request.url), safe='')}" if error.status_code == 401 else ""
    return page(request, "problem.html.j2", status=error.status_code, what=what, why="", hint=hint, login=login)


@app.exception_handler(RelightError)
async def failed(request: Request, error: RelightError) -> Response:
    """What is wrong, in words, with what helps."""
    status = 404 if isinstance(error, NoSuchShard) else 503 if error.retryable else 500
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"detail": str(error), "hint": error.hint}, status)
    return page(request, "problem.html.j2", status=status, what=error.what, why=_why(error), hint=error.hint, login="")


@app.exception_handler(RequestValidationError)
async def not_understood(request: Request, error: RequestValidationError) -> Response:
    """Something else stands in the address than belongs there."""
    wrong = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"detail": f"the address cannot be understood: {wrong}", "hint": _LEADS_ON}, 400)
    what = "the address cannot be understood"
    return page(request, "problem.html.j2", status=400, what=what, why=wrong, hint=_LEADS_ON, login="")


_LEADS_ON = "The fleet page leads on from here."
_REFUSALS = {
    401: ("You are not signed in", "Sign in to Airflow, then open this page again."),
    403: ("You may not see this", "Your account in Airflow may not read the DAG that this page is about."),
    404: ("There is no such page or run", _LEADS_ON),
}


def _why(error: RelightError) -> str:
    return ": ".join(filter(None, (error.on, error.why)))
