"""POST .../infer, the hot path: body -> protobuf -> `intake.infer` -> reply."""

import asyncio
from collections.abc import Awaitable
from typing import Final

from router.core import Core
from router.edge.intake import infer
from router.edge.rest.body import LEAST_COMPRESSED, Receive, accepted_encoding, compress
from router.edge.rest.decode import Wanted, message_of, raw_message_of
from router.edge.rest.encode import response_of
from router.edge.rest.exchange import Request, Response
from router.tracing import Origin, http_origin
from serving.errors import Cancelled, InvalidRequest

# Seconds until an inference is watched for its caller going away. Watching costs a task, about a tenth of a fast
# request; what is over sooner is not worth cancelling.
_WATCH_AFTER_S: Final = 0.01

_INFER: Final = http_origin("POST", "/v2/models/{model}/infer")


async def infer_tensors(request: Request) -> Response:
    json_size = _json_size(request)
    body = await request.body()
    message, wanted = _decode(request.core, request, body, json_size)
    response = response_of(await predict(request, message), wanted)
    return await compressed(request, response)


def _decode(core: Core, request: Request, body: bytes, json_size: int | None) -> tuple[bytes, Wanted]:
    limits = core.settings.limits
    model, version = request.model, request.version
    if json_size == 0:
        signature = core.catalogue.described(model, version).signature
        return raw_message_of(body, signature, model, version, max_bytes=limits.max_message_bytes)
    return message_of(
        body, json_size, model, version, max_depth=limits.max_json_depth, max_bytes=limits.max_message_bytes
    )


def _json_size(request: Request) -> int | None:
    value = request.headers.get(b"inference-header-content-length")
    if value is None:
        return None
    if not value.isdigit() or len(value) > 18:
        raise InvalidRequest(
            f"{value.decode('latin-1')!r} is not a length",
            field="inference-header-content-length",
            remedy="send the length of the JSON part in bytes, or 0",
        )
    return int(value)


async def predict(request: Request, message: bytes, origin: Origin = _INFER) -> bytes:
    """Serialised ModelInferRequest in, ModelInferResponse out; `origin` names the route in traces. Raises
    DodonaError; Cancelled once the caller has gone, which withdraws the inference."""
    tracer, traceparent = request.core.tracer, request.traceparent
    trace = tracer.begin(origin, traceparent, request.headers, request.arrived_at) if tracer is not None else None
    return await unless_gone(
        infer(
            request.core,
            message,
            deadline=request.deadline(),
            request_id=request.request_id,
            traceparent=traceparent,
            tenant=request.tenant,
            trace=trace,
        ),
        request.receive,
    )


async def unless_gone(work: Awaitable[bytes], receive: Receive) -> bytes:
    """Await `work`, cancelling it when the caller disconnects; the body must have been read. Raises Cancelled."""
    task = asyncio.current_task()
    assert task is not None
    watchers: list[asyncio.Task[None]] = []
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        task.cancel()

    loop = asyncio.get_running_loop()
    start = loop.call_later(_WATCH_AFTER_S, lambda: watchers.append(loop.create_task(watch())))
    try:
        return await work
    except asyncio.CancelledError:
        if gone and task.uncancel() == 0:
            raise Cancelled("the caller went away") from None
        raise
    finally:
        start.cancel()
        for watcher in watchers:
            watcher.cancel()
            await asyncio.wait(watchers)


async def compressed(request: Request, response: Response) -> Response:
    """The response in an encoding that the caller accepts, where it is large enough to be worth it."""
    if len(response.body) >= LEAST_COMPRESSED:
        encoding = accepted_encoding(request.headers.get(b"accept-encoding"))
        if encoding:
            response.body = await compress(response.body, encoding)
            response.headers += [(b"content-encoding", encoding.encode()), (b"vary", b"accept-encoding")]
    return response
