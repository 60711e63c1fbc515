"""The ASGI callable: match the route, call its endpoint, translate errors once, echo the request id."""

import logging
from collections.abc import Awaitable, Callable
from math import ceil

from router.core import Core
from router.edge.intake import request_id_from
from router.edge.rest.body import Receive
from router.edge.rest.exchange import Endpoint, Request, Response, Scope, Send, as_json
from router.edge.rest.routing import Routes, WrongMethod
from router.edge.rest.table import rules
from serving.errors import DodonaError, InternalError, Shed

log = logging.getLogger(__name__)


def rest_app(core: Core) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """An ASGI 3 application of `http` scopes, without lifespan or websockets."""
    routes: Routes[Endpoint] = Routes(rules())

    async def answer(scope: Scope, receive: Receive, headers: dict[bytes, bytes], request_id: str) -> Response:
        method: str = scope["method"]
        path: bytes = scope["raw_path"]
        if method == "OPTIONS":
            return Response(status=204, headers=[(b"allow", routes.allow(path).encode())])
        match = routes.match(method, path)
        request = Request(core, method, match.arguments, headers, request_id, receive, core.clock())
        return await match.rule.target(request)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        request_id = request_id_from(headers.get(b"x-request-id", b"").decode("latin-1"))
        try:
            response = await answer(scope, receive, headers, request_id)
        except DodonaError as error:
            response = refusal(error)
        except Exception:
            log.exception("REST endpoint failed", extra={"request_id": request_id, "path": scope["path"]})
            response = refusal(InternalError("a fault of the server", remedy=f"quote the request id {request_id}"))
        fields = response.headers
        fields.append((b"x-request-id", request_id.encode()))
        if response.status != 204:
            fields.append((b"content-length", b"%d" % len(response.body)))
        await send({"type": "http.response.start", "status": response.status, "headers": fields})
        await send({"type": "http.response.body", "body": response.body})

    return app


def refusal(error: DodonaError) -> Response:
    """The error's text as {"error": ...} with its HTTP status; `Retry-After` where waiting helps."""
    response = as_json({"error": str(error)}, error.http_status)
    if isinstance(error, WrongMethod):
        response.headers.append((b"allow", error.allow.encode()))
    if isinstance(error, Shed) or error.retry_after_s > 0:
        response.headers.append((b"retry-after", b"%d" % max(1, ceil(error.retry_after_s))))
    return response
