"""Inference for endpoints that are coroutines, and the compression of their answers."""

from router.edge.intake import infer
from router.edge.rest.body import LEAST_COMPRESSED, accepted_encoding, compress
from router.edge.rest.exchange import Request, Response


async def predict(request: Request, message: bytes) -> bytes:
    """Serialised ModelInferRequest in, ModelInferResponse out. Raises DodonaError; cancelling it, as the listener does
    when the caller has gone, withdraws the inference."""
    return await infer(
        request.core,
        message,
        deadline=request.deadline(),
        request_id=request.request_id,
        traceparent=request.traceparent,
        tenant=request.tenant,
        caller=request,
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
