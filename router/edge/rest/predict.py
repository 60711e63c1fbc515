"""Inference for endpoints that are coroutines, and the compression of their answers."""

from typing import Final

from router.edge.intake import infer
from router.edge.rest.body import LEAST_COMPRESSED, accepted_encoding, compress
from router.edge.rest.exchange import Request, Response
from router.tracing import Origin, http_origin

INFER: Final = http_origin("POST", "/v2/models/{model}/infer")


async def predict(request: Request, message: bytes, origin: Origin = INFER) -> bytes:
    """Serialised ModelInferRequest in, ModelInferResponse out; `origin` names the route in traces. Raises DodonaError;
    cancelling it, as the listener does when the caller has gone, withdraws the inference."""
    tracer, traceparent = request.core.tracer, request.traceparent
    trace = tracer.begin(origin, traceparent, request.headers, request.exchange.opened_at) if tracer else None
    return await infer(
        request.core,
        message,
        deadline=request.deadline(),
        request_id=request.request_id,
        traceparent=traceparent,
        tenant=request.tenant,
        caller=request,
        trace=trace,
    )


async def compressed(request: Request, response: Response) -> Response:
    """The response in an encoding that the caller accepts, where it is large enough to be worth it, with the word where
    it came from."""
    say_where_from(request, response)
    if len(response.body) >= LEAST_COMPRESSED:
        encoding = accepted_encoding(request.headers.get(b"accept-encoding"))
        if encoding:
            set_compressed(response, await compress(response.body, encoding), encoding)
    return response


def say_where_from(request: Request, response: Response) -> None:
    if request.cache_status:
        response.headers.append((b"cache-status", request.cache_status.encode()))


def set_compressed(response: Response, packed: bytes, encoding: str) -> None:
    response.body = packed
    response.headers += [(b"content-encoding", encoding.encode()), (b"vary", b"accept-encoding")]
