"""Who may ask: API keys, the names the service answers to, the size of requests."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from talkies.serving.errors import ApiError
from talkies.serving.keys import Keys
from talkies.serving.settings import LOCAL_OWNER

_READING = ("GET", "HEAD", "OPTIONS")


def owner_of(request: Request) -> str:
    """Whose request it is: the id of its key, or `local` where no keys are used.

    Raises:
        ApiError: 401, the key is missing or unknown.
    """
    keys: Keys | None = request.app.state.keys
    if keys is None:
        return LOCAL_OWNER
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    owner = keys.owner(secret.strip()) if scheme.lower() == "bearer" and secret else None
    if owner is None:
        raise ApiError(401, "invalid_api_key", "Send a valid API key: Authorization: Bearer KEY.",
                       headers={"WWW-Authenticate": "Bearer"})  # fmt: skip
    return owner


class Guard:
    """Refuses, before anything is read: foreign host names, other sites' pages, and bodies that are too large.

    A web page somewhere can make a visitor's browser send requests to services on the visitor's machine. Such a request
    carries the page's `Origin`, or, after DNS rebinding, the page's host name; neither is answered.

    Args:
        app: What is guarded.
        hosts: Names the service answers to; empty: any.
        body_bytes: Largest body.
    """

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...], body_bytes: int) -> None:
        self.app, self.hosts, self.body_bytes = app, {host.lower() for host in hosts}, body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope, Headers(scope=scope))
        if refusal is not None and scope["type"] == "http":
            await _answer(refusal)(scope, receive, send)
        elif refusal is not None:
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self.app(scope, _Counted(receive, self.body_bytes), send)

    def _refusal(self, scope: Scope, headers: Headers) -> ApiError | None:
        host = headers.get("host", "")
        if self.hosts and _name(host) not in self.hosts:
            return ApiError(421, "wrong_host", "This service is not called that.")
        origin = headers.get("origin")
        changes = scope["type"] == "websocket" or scope["method"] not in _READING
        if changes and origin is not None and _site(origin) != host.lower():
            return ApiError(403, "wrong_origin", "Pages of other sites may not use this service.")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.body_bytes:
            return _too_large(self.body_bytes)
        return None


class _Counted:
    """A request's body, counted while it arrives: a length may be left out or wrong."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self._most, self._bytes = receive, most, 0

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            if self._bytes > self._most:
                raise _too_large(self._most)
        return message


def _too_large(most: int) -> ApiError:
    return ApiError(413, "too_large", f"A request may have {most // 1_000_000} MB.")


def _answer(error: ApiError) -> JSONResponse:
    return JSONResponse(error.body, error.status, error.headers)


def _site(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:  # as of `http://[`
        return None


def _name(host: str) -> str:
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    return name.lower()
