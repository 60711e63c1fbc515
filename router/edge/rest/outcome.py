"""How a request ends: with an endpoint's response, the refusal of an error, or a fault of ours."""

import logging
from math import ceil

from router.edge.rest.exchange import Endpoint, Request, Response, as_json
from router.edge.rest.routing import WrongMethod
from router.front.exchange import Exchange
from serving.errors import DodonaError, InternalError, Shed

log = logging.getLogger(__name__)


async def answer(endpoint: Endpoint, request: Request) -> None:
    """Run an endpoint to its end. Raises nothing but CancelledError."""
    try:
        response = await endpoint(request)
    except DodonaError as error:
        response = refusal(error)
    except Exception:
        fault(request.exchange, request.request_id)
        return
    response.send(request.exchange, request.request_id)


def fault(exchange: Exchange, request_id: str) -> None:
    """In an exception's handler: the caller gets the id under which the log has the exception."""
    path = exchange.head.path.decode("latin-1")
    log.exception("REST endpoint failed", extra={"request_id": request_id, "path": path})
    error = InternalError("a fault of the server", remedy=f"quote the request id {request_id}")
    refusal(error).send(exchange, request_id)


def refusal(error: DodonaError) -> Response:
    """The error's text as {"error": ...} with its HTTP status; `Retry-After` where waiting helps."""
    response = as_json({"error": str(error)}, error.http_status)
    if isinstance(error, WrongMethod):
        response.headers.append((b"allow", error.allow.encode()))
    if isinstance(error, Shed) or error.retry_after_s > 0:
        response.headers.append((b"retry-after", b"%d" % max(1, ceil(error.retry_after_s))))
    return response
