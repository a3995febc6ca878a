"""The routes of the privacy page: who asks, by which form, and which page is the answer."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from typing import TYPE_CHECKING, Any, Protocol

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from device.edges.web.guard import BadFormError, read_form
from device.errors import RecorderError
from device.page import frame, session
from device.page import password as passwords
from device.page.overview import overview, state_of
from device.page.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

    from device.edges.web.password_file import PasswordFile
    from device.page.facts import Facts, Live
    from device.page.frame import Look
    from device.page.password import Stored
    from device.page.session import Session

_FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}  # the address changes with the content
_FORMS = (
    "opt-in", "opt-out", "withdraw", "withdraw-one", "mute", "unmute", "delete", "not-for-me", "delete-all", "forget",
)  # fmt: skip
_NOT_OURS = "This form is not of this page any more. Nothing was changed."


class Actions(Protocol):
    """What the page shows and does; each call may wait for the disk, and raises RecorderError where it cannot."""

    def facts(self) -> Facts:
        """Return everything that is shown; what cannot be read is said in it."""

    def live(self) -> Live:
        """Return what the recorder does now."""

    def revision(self) -> int:
        """Return the revision of the choice."""

    def sound(self, request_id: str) -> bytes | None:
        """Return a waiting request as a WAV file; None if it does not wait."""

    def act(self, name: str, fields: Mapping[str, str]) -> str:
        """Do what a form asks for; return the name of what to say."""


class _Pages:
    """Answers requests.

    Args:
        actions: what is shown and done.
        look: what pages share.
        password: the password's file.
        secure: is the page reached by https?
        behind_proxy: say whose address counts: the one that a proxy names.
    """

    def __init__(
        self, actions: Actions, look: Look, password: PasswordFile, *, secure: bool, behind_proxy: bool
    ) -> None:
        self._actions = actions
        self._look = look
        self._password = password
        self._secure = secure
        self._behind_proxy = behind_proxy
        self._cookie = "__Host-session" if secure else "session"
        self._throttle = Throttle()
        self._one_try = asyncio.Lock()  # each takes 16 MB

    async def main(self, request: Request) -> Response:
        """Show the page."""
        found = await self._session(request)
        if isinstance(found, Response):
            return found
        return await self._overview(*found, notice=request.query_params.get("done", ""))

    async def _overview(self, who: Session, stored: Stored, *, notice: str = "", problem: str = "") -> Response:
        facts = await run_in_threadpool(self._actions.facts)
        token = session.form_token(who, stored.key)
        content = overview(self._look, facts, token=token, notice=notice, problem=problem)
        return HTMLResponse(content, 503 if problem or facts.problem else 200)

    async def ask(self, request: Request) -> Response:
        """Ask before opting in."""
        found = await self._session(request)
        if isinstance(found, Response):
            return found
        who, stored = found
        revision = await run_in_threadpool(self._actions.revision)
        token = session.form_token(who, stored.key)
        return HTMLResponse(frame.ask_to_opt_in(self._look, revision=revision, token=token))

    async def act(self, request: Request, name: str) -> Response:
        """Do what a form asks for, and show the page anew."""
        found = await self._session(request)
        if isinstance(found, Response):
            return found
        fields = await read_form(request)
        if not session.is_form_of(fields.get("token", ""), found[0], found[1].key):
            return HTMLResponse(frame.says(self._look, "Not done", _NOT_OURS), 403)
        try:
            done = await run_in_threadpool(self._actions.act, name, fields)
        except RecorderError as error:
            return await self._overview(*found, problem=f"Not done: {error}")
        return RedirectResponse(f"/?done={done}", 303)

    async def sound(self, request: Request) -> Response:
        """Play a waiting request."""
        found = await self._session(request)
        if isinstance(found, Response):
            return found
        wav = await run_in_threadpool(self._actions.sound, request.path_params["id"])
        if wav is None:
            return HTMLResponse(frame.says(self._look, "Gone", "It was sent or deleted."), 404)
        return Response(wav, media_type="audio/wav", headers={"Content-Disposition": "inline"})

    async def live(self, request: Request) -> Response:
        """Say what the recorder does now."""
        found = await self._session(request)
        if isinstance(found, Response):
            return JSONResponse({}, 401)
        live = await run_in_threadpool(self._actions.live)
        kind, says = state_of(live)
        return JSONResponse({"kind": kind, "says": says, "level_dbfs": live.level_dbfs})

    async def ask_password(self, request: Request) -> Response:
        """Ask for the password."""
        stored = await run_in_threadpool(self._password.read)
        if stored is None:
            return HTMLResponse(frame.without_password(self._look), 403)
        if self._of(request, stored):
            return RedirectResponse("/", 303)
        return HTMLResponse(frame.login(self._look))

    async def login(self, request: Request) -> Response:
        """Take the password."""
        stored = await run_in_threadpool(self._password.read)
        if stored is None:
            return HTMLResponse(frame.without_password(self._look), 403)
        password = (await read_form(request)).get("password", "")
        address = self._address(request)
        wait_s = self._throttle.wait_s(address, time.monotonic())
        if wait_s:
            said = f"Too many tries. The next one counts in {math.ceil(wait_s)} s."
            return HTMLResponse(frame.login(self._look, said), 429, {"Retry-After": str(math.ceil(wait_s))})
        async with self._one_try:
            right = await run_in_threadpool(passwords.matches, stored, password)
        if not right:
            return HTMLResponse(frame.login(self._look, "That is not the password."), 403)
        self._throttle.forget(address)
        response = RedirectResponse("/", 303)
        began = session.Session(int(time.time()), secrets.token_hex(16))
        self._set_cookie(response, session.cookie(began, stored.key), session.LASTS_S)
        return response

    async def logout(self, request: Request) -> Response:
        """Forget the browser's session."""
        found = await self._session(request)
        if isinstance(found, Response):
            return found
        if not session.is_form_of((await read_form(request)).get("token", ""), found[0], found[1].key):
            return HTMLResponse(frame.says(self._look, "Not done", _NOT_OURS), 403)
        response = RedirectResponse("/login", 303)
        self._set_cookie(response, "", 0)
        return response

    async def _session(self, request: Request) -> tuple[Session, Stored] | Response:
        """Return who asks, or where to send somebody who has to log in first."""
        stored = await run_in_threadpool(self._password.read)
        who = stored and self._of(request, stored)
        return (who, stored) if who and stored else RedirectResponse("/login", 303)

    def _of(self, request: Request, stored: Stored) -> Session | None:
        return session.read_cookie(request.cookies.get(self._cookie, ""), stored.key, time.time())

    def _set_cookie(self, response: Response, value: str, lasts_s: int) -> None:
        response.set_cookie(
            self._cookie, value, max_age=lasts_s, path="/", secure=self._secure, httponly=True, samesite="strict"
        )

    def _address(self, request: Request) -> str:
        if self._behind_proxy:  # the proxy has added the last one; those before it anybody may have written
            return request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
        return request.client.host if request.client else ""

    async def bad_form(self, _: Request, error: Exception) -> Response:
        """Say that a form is none."""
        assert isinstance(error, BadFormError)  # noqa: S101 - what it is registered for
        return HTMLResponse(frame.says(self._look, "Not done", _NOT_OURS), error.status, {"Connection": "close"})

    async def failed(self, _: Request, error: Exception) -> Response:
        """Say what is wrong here."""
        assert isinstance(error, RecorderError)  # noqa: S101
        return HTMLResponse(frame.says(self._look, "Not now", error.message, hint=error.hint), 503)

    async def unknown(self, _: Request, error: Exception) -> Response:
        """Say that there is no such page."""
        assert isinstance(error, HTTPException)  # noqa: S101
        return HTMLResponse(frame.says(self._look, "Nothing here", "There is no such page."), error.status_code)


def make_app(
    actions: Actions,
    look: Look,
    password: PasswordFile,
    files: Mapping[str, tuple[str, bytes]],
    *,
    secure: bool,
    behind_proxy: bool,
) -> Starlette:
    """Return what answers requests.

    Args:
        actions: what is shown and done.
        look: what pages share.
        password: the password's file.
        files: by their names, what kind they are and what is in them.
        secure: is the page reached by https?
        behind_proxy: does a proxy stand before it?
    """
    pages = _Pages(actions, look, password, secure=secure, behind_proxy=behind_proxy)
    handlers: dict[Any, Any] = {
        BadFormError: pages.bad_form,
        RecorderError: pages.failed,
        HTTPException: pages.unknown,
    }
    return Starlette(
        routes=[
            Route("/", pages.main, methods=["GET"]),
            Route("/login", pages.ask_password, methods=["GET"]),
            Route("/login", pages.login, methods=["POST"]),
            Route("/logout", pages.logout, methods=["POST"]),
            Route("/opt-in", pages.ask, methods=["GET"]),
            *(Route(f"/{name}", _form(pages, name), methods=["POST"]) for name in _FORMS),
            Route("/waiting/{id}.wav", pages.sound, methods=["GET"]),
            Route("/live", pages.live, methods=["GET"]),
            *(Route(f"/{name}", _file(*content), methods=["GET"]) for name, content in files.items()),
        ],
        exception_handlers=handlers,
    )


def _form(pages: _Pages, name: str) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await pages.act(request, name)

    return endpoint


def _file(kind: str, content: bytes) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(_: Request) -> Response:
        return Response(content, media_type=kind, headers=_FOREVER)

    return endpoint
