"""POST .../infer, the hot path: body -> protobuf -> Dispatcher -> reply, without a task for what is small and plain."""

from functools import partial

from router.edge.caching import heed
from router.edge.intake import infer, inference_of
from router.edge.rest.body import LEAST_COMPRESSED, accepted_encoding, compress, compress_at_once
from router.edge.rest.decode import Wanted, message_of, raw_message_of
from router.edge.rest.encode import response_of
from router.edge.rest.exchange import Direct, Request, Response, check_content_type
from router.edge.rest.outcome import answer, fault, refusal
from router.sharing import Share
from serving.errors import DodonaError, InvalidRequest


def start_infer(request: Request) -> None:
    """Raises DodonaError."""
    exchange = request.exchange
    check_content_type(exchange.head)
    if b"content-encoding" in exchange.head.headers:
        exchange.run(answer(_infer_in_steps, request))
        return
    message, wanted = _decode(request, exchange.body)
    dispatcher = request.core.dispatcher
    inference = inference_of(
        request.core,
        message,
        deadline=request.deadline(),
        request_id=request.request_id,
        traceparent=request.traceparent,
        on_reply=partial(_reply, request, wanted),
        on_error=partial(_fail, request),
        tenant=request.tenant,
    )
    share = inference.share
    if share is not None:
        heed(inference, request.cache_control)
        inference.on_reply = partial(_reply_shared, request, wanted, share)
    exchange.on_cancel = partial(dispatcher.cancel, inference)
    dispatcher.submit(inference)


infer_tensors = Direct(start_infer)


def _reply(request: Request, wanted: Wanted, reply: bytes) -> None:
    """Called by the Dispatcher, so it raises nothing."""
    try:
        response = response_of(reply, wanted)
        _say_where_from(request, response)
        encoding = _encoding(request, response)
        if encoding:
            packed = compress_at_once(response.body, encoding)
            if packed is None:
                request.exchange.run(_send_compressed(request, response))
                return
            _set_compressed(response, packed, encoding)
    except DodonaError as error:
        _fail(request, error)
    except Exception:
        fault(request.exchange, request.request_id)
    else:
        response.send(request.exchange, request.request_id)


def _reply_shared(request: Request, wanted: Wanted, share: Share, reply: bytes) -> None:
    request.cache_status = share.status
    _reply(request, wanted, reply)


def _fail(request: Request, error: DodonaError) -> None:
    refusal(error).send(request.exchange, request.request_id)


async def _send_compressed(request: Request, response: Response) -> None:
    await _compress(request, response)
    response.send(request.exchange, request.request_id)


async def _infer_in_steps(request: Request) -> Response:
    message, wanted = _decode(request, await request.body())
    return await compressed(request, response_of(await predict(request, message), wanted))


def _decode(request: Request, body: bytes) -> tuple[bytes, Wanted]:
    core = request.core
    limits = core.settings.limits
    model, version = request.model, request.version
    json_size = _json_size(request)
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
    _say_where_from(request, response)
    await _compress(request, response)
    return response


async def _compress(request: Request, response: Response) -> None:
    encoding = _encoding(request, response)
    if encoding:
        _set_compressed(response, await compress(response.body, encoding), encoding)


def _say_where_from(request: Request, response: Response) -> None:
    if request.cache_status:
        response.headers.append((b"cache-status", request.cache_status.encode()))


def _encoding(request: Request, response: Response) -> str:
    if len(response.body) < LEAST_COMPRESSED:
        return ""
    return accepted_encoding(request.headers.get(b"accept-encoding"))


def _set_compressed(response: Response, packed: bytes, encoding: str) -> None:
    response.body = packed
    response.headers += [(b"content-encoding", encoding.encode()), (b"vary", b"accept-encoding")]
