"""POST .../infer, the hot path: body -> protobuf -> Dispatcher -> reply, without a task for what is small and plain.

What a head says is read once and kept with it (`InferPlan`), for the listener gives equal heads as one. Bodies that are
compressed, and what takes long, go by way of a coroutine.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from router.core import Core
from router.edge.caching import heed
from router.edge.intake import inference_of
from router.edge.rest.aside import LARGE
from router.edge.rest.body import LEAST_COMPRESSED, accepted_encoding, compress_at_once
from router.edge.rest.decode import Wanted, asked_of, json_part, raw_message_of
from router.edge.rest.encode import response_of, textual_bytes
from router.edge.rest.exchange import Direct, Request, Response, check_content_type, timeout_of
from router.edge.rest.jsontext import parse
from router.edge.rest.outcome import answer, fault, refusal
from router.edge.rest.predict import INFER, compressed, predict, say_where_from, set_compressed
from router.edge.rest.templates import RequestTemplate
from router.sharing.flights import Share
from router.tracing import Trace
from serving.errors import DodonaError, InvalidRequest

_JSON: Final = b"content-type: application/json\r\nx-request-id: %s\r\n"
_BINARY: Final = (
    b"content-type: application/octet-stream\r\ninference-header-content-length: %d\r\nx-request-id: %s\r\n"
)


class InferPlan:
    """What the head of an infer request says, and the templates for such requests."""

    __slots__ = (
        "accepts",
        "json_size",
        "model",
        "packed",
        "templates",
        "tenant",
        "timeout_s",
        "traceparent",
        "version",
    )

    def __init__(self, request: Request) -> None:
        """Raises InvalidRequest, WrongContentType."""
        head = request.exchange.head
        check_content_type(head)
        self.json_size = _json_size(request)
        self.timeout_s = timeout_of(head)
        self.model = request.model
        self.version = request.version
        self.traceparent = request.traceparent
        self.tenant = request.tenant
        self.packed = b"content-encoding" in head.headers
        self.accepts = accepted_encoding(head.headers.get(b"accept-encoding"))
        self.templates = request.shelf.templates(self.model, self.version, self.json_size, head.length)


def start_infer(request: Request) -> None:
    """Raises DodonaError."""
    plan = request.plan.infer
    if plan is None:
        plan = request.plan.infer = InferPlan(request)
    exchange, core = request.exchange, request.core
    if plan.packed or _json_bytes(plan, exchange.body) >= LARGE:
        exchange.run(answer(_infer_in_steps, request))
        return
    tracer = core.tracer
    trace = tracer.begin(INFER, plan.traceparent, exchange.head.headers) if tracer is not None else None
    try:
        _submit(request, plan, trace)
    except DodonaError as error:
        if trace is not None:
            trace.refused(error)
        raise


def _submit(request: Request, plan: InferPlan, trace: Trace | None) -> None:
    exchange, core = request.exchange, request.core
    message, wanted, template = _decode(core, plan, exchange.body)
    dispatcher = core.dispatcher
    inference = inference_of(
        core,
        message,
        deadline=None if plan.timeout_s is None else exchange.opened_at + plan.timeout_s,
        request_id=request.request_id,
        traceparent=plan.traceparent,
        on_reply=partial(_reply, request, plan, wanted, template),
        on_error=partial(_fail, request),
        tenant=plan.tenant,
        trace=trace,
    )
    share = inference.share
    if share is not None:
        heed(inference, request.cache_control)
        inference.on_reply = partial(_reply_shared, request, share, inference.on_reply)
    exchange.on_cancel = partial(dispatcher.cancel, inference)
    dispatcher.submit(inference)


infer_tensors = Direct(start_infer)


def _decode(core: Core, plan: InferPlan, body: bytes) -> tuple[bytes, Wanted, RequestTemplate | None]:
    """The message, what is wanted of its answer, and the template of its kind."""
    limits = core.settings.limits
    max_bytes = limits.max_message_bytes
    model, version, json_size, templates = plan.model, plan.version, plan.json_size, plan.templates
    made: RequestTemplate | None
    if json_size is None:
        text_template = templates.text
        if text_template is not None:
            message = text_template.message(body, limits.max_json_depth, max_bytes)
            if message is not None:
                return message, text_template.template.wanted, text_template.template
        document = parse(body, limits.max_json_depth)
        found = templates.json(document)
        if found is not None:
            known, inputs = found
            return known.message(inputs, max_bytes), known.wanted, known
        asked = asked_of(document, memoryview(b""), model, version)
        made = templates.keep_json(body, document, asked)
        return asked.message(max_bytes), asked.wanted, made
    if json_size == 0:
        signature = core.catalogue.described(model, version).signature
        return *raw_message_of(body, signature, model, version, max_bytes=max_bytes), None
    usual = templates.binary
    message = None if usual is None else usual.message(body, max_bytes)
    if usual is not None and message is not None:
        return message, usual.wanted, usual
    text = json_part(body, json_size)
    asked = asked_of(parse(text, limits.max_json_depth), memoryview(body)[json_size:], model, version)
    made = templates.keep_binary(text, len(body), asked)
    return asked.message(max_bytes), asked.wanted, made


def _reply(request: Request, plan: InferPlan, wanted: Wanted, template: RequestTemplate | None, reply: bytes) -> None:
    """Called by the Dispatcher, so it raises nothing."""
    try:
        known = None if template is None else template.answer
        raws = None if known is None else known.raws(reply)
        if known is None or raws is None or known.textual >= LARGE or request.cache_status:
            _reply_generally(request, plan, wanted, template, reply)
            return
        body, json_size = known.skeleton.filled(raws)
        if plan.accepts and len(body) >= LEAST_COMPRESSED:
            _reply_generally(request, plan, wanted, template, reply)
            return
        request_id = request.request_id.encode()
        lines = _BINARY % (json_size, request_id) if known.skeleton.any_binary else _JSON % request_id
        request.exchange.reply(200, lines, body)
    except DodonaError as error:
        _fail(request, error)
    except Exception:
        fault(request.exchange, request.request_id)


def _reply_shared(request: Request, share: Share, on_reply: Callable[[bytes], None], reply: bytes) -> None:
    request.cache_status = share.status
    on_reply(reply)


def _reply_generally(
    request: Request, plan: InferPlan, wanted: Wanted, template: RequestTemplate | None, reply: bytes
) -> None:
    if len(reply) >= LARGE and textual_bytes(reply, wanted) >= LARGE:
        request.exchange.run(answer(partial(_respond_in_steps, reply, wanted), request))
        return
    response = response_of(reply, wanted)
    if template is not None:
        plan.templates.keep_answer(template, reply)
    say_where_from(request, response)
    if plan.accepts and len(response.body) >= LEAST_COMPRESSED:
        packed = compress_at_once(response.body, plan.accepts)
        if packed is None:
            request.exchange.run(answer(partial(_respond_in_steps, reply, wanted), request))
            return
        set_compressed(response, packed, plan.accepts)
    response.send(request.exchange, request.request_id)


def _fail(request: Request, error: DodonaError) -> None:
    refusal(error).send(request.exchange, request.request_id)


async def _infer_in_steps(request: Request) -> Response:
    plan = request.plan.infer
    assert plan is not None
    body = await request.body()
    if _json_bytes(plan, body) < LARGE:
        message, wanted, _ = _decode(request.core, plan, body)
    else:
        limits = request.core.settings.limits
        sizes = {"max_depth": limits.max_json_depth, "max_bytes": limits.max_message_bytes}
        message, wanted = await request.aside.call(
            "message_of", body, plan.json_size, plan.model, plan.version, **sizes
        )
    return await _respond_in_steps(await predict(request, message), wanted, request)


async def _respond_in_steps(reply: bytes, wanted: Wanted, request: Request) -> Response:
    if len(reply) < LARGE or textual_bytes(reply, wanted) < LARGE:
        return await compressed(request, response_of(reply, wanted))
    return await compressed(request, await request.aside.call("response_of", reply, wanted))


def _json_bytes(plan: InferPlan, body: bytes) -> int:
    """How much of a body is JSON."""
    return len(body) if plan.json_size is None else plan.json_size


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
