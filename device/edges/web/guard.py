"""What every request passes, whatever it asks for: the names it may use, its size, and the headers of the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse

from device.page.origin import is_known, is_own_form

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_FORM_BYTES = 16_384  # the longest password, each character as nine
_FORM = "application/x-www-form-urlencoded"
_HEADERS = {
    # Nothing from elsewhere, nothing inline, in nobody's frame.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "media-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: browsers would then say "null" for where a form comes from.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), usb=()",
}


class Guard:
    """Stands before the application.

    Args:
        app: the application.
        names: by which this device may be asked for, in lower case.
        secure: is the page reached by https?
        touch: called at the beginning and the end of each request that is let in.
    """

    def __init__(self, app: ASGIApp, names: Collection[str], *, secure: bool, touch: Callable[[], None]) -> None:
        self._app = app
        self._names = names
        self._secure = secure
        self._touch = touch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or refuse it."""
        if scope["type"] != "http":
            return
        refusal = self._refusal(scope)

        async def closed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        if refusal is not None:
            await refusal(scope, receive, closed)
            return
        self._touch()
        await self._app(scope, receive, closed)
        self._touch()  # the disk may have kept it waiting

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not is_known(hosts[0], self._names):
            return PlainTextResponse("This device has another name. Its own names are in [web] hosts.\n", 421)
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("Not that way.\n", 405, {"Allow": "GET, HEAD, POST"})
        if scope["method"] == "POST" and not is_own_form(
            headers.get("origin"), headers.get("sec-fetch-site"), hosts[0], secure=self._secure
        ):
            return PlainTextResponse("This was not sent by the page itself. Nothing was changed.\n", 403)
        return None


class BadFormError(Exception):
    """What was sent is no form of ours.

    Attributes:
        status: the answer's.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


async def read_form(request: Request) -> dict[str, str]:
    """Return a form's fields.

    Raises:
        BadFormError: it is none, too large, or has a field twice.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise BadFormError(415)
    content = b""
    try:
        async for piece in request.stream():
            content += piece
            if len(content) > MOST_FORM_BYTES:
                raise BadFormError(413)
    except ClientDisconnect:  # amid its form
        raise BadFormError(400) from None
    try:
        fields = parse_qsl(content.decode("ascii"), keep_blank_values=True, strict_parsing=bool(content),
                           errors="strict", max_num_fields=10)  # fmt: skip
    except ValueError:
        raise BadFormError(400) from None
    if len(dict(fields)) != len(fields):
        raise BadFormError(400)
    return dict(fields)
