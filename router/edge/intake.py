"""From the bytes of a request to an Inference: what gRPC, streams and REST do alike before the Dispatcher.

Only the routing fields are decoded (protos/routing.proto); tensors stay the bytes they came in.
"""

import asyncio
import re
from collections.abc import Callable
from itertools import count
from os import urandom

from google.protobuf.message import DecodeError

from protos import routing_pb2
from router.core import Core
from router.edge.caching import CacheUser, heed
from router.request import Inference
from router.tracing import Trace
from serving.errors import DodonaError, InvalidRequest
from serving.wire import without_tail

_ACCEPTABLE_ID = re.compile(r"[\x21-\x7e]{1,128}")
_PREFIX = urandom(5).hex()
_NUMBERS = count(1)
_MAX_TENANT_CHARS = 128
_LARGE_BYTES = 16 * 1024
_RAW_INPUT_CONTENTS = 7


def request_id_from(value: str | bytes | None) -> str:
    """The caller's id where it is 1 to 128 visible ASCII characters, else a new one, unique in the fleet."""
    if value and isinstance(value, str) and _ACCEPTABLE_ID.fullmatch(value):
        return value
    return f"{_PREFIX}-{next(_NUMBERS):x}"


def inference_of(
    core: Core,
    message: bytes | memoryview,
    *,
    deadline: float | None,
    request_id: str,
    traceparent: str,
    on_reply: Callable[[bytes], None],
    on_error: Callable[[DodonaError], None],
    tenant: str = "",
    trace: Trace | None = None,
) -> Inference:
    """Settle version, rows, priority, tenant and deadline of a serialised inference.ModelInferRequest.

    The deadline (event-loop seconds) is the transport's (`deadline`) or the `timeout` parameter's (microseconds),
    whichever is earlier; without either the model's default, else the router's. Raises InvalidRequest, ModelNotFound,
    Unavailable.
    """
    try:
        # A parser keeps what it does not know, at the price of a copy: of large tensors, it is not shown them.
        front = message if len(message) < _LARGE_BYTES else without_tail(message, _RAW_INPUT_CONTENTS)
        routing = routing_pb2.Request.FromString(bytes(front))
    except DecodeError:
        raise InvalidRequest(
            "not a serialised inference.ModelInferRequest", field="request", remedy="check the client's protobuf"
        ) from None
    if not routing.model_name:
        raise InvalidRequest("model name is empty", field="model_name", remedy="name the model or endpoint to call")
    pool = core.catalogue.pool(routing.model_name, routing.model_version)
    priority = 0
    has_parameters = bool(routing.parameters)
    if has_parameters:
        priority = _whole_number(routing, "priority")
        timeout_us = _whole_number(routing, "timeout")
        if timeout_us:
            limit = core.clock() + timeout_us / 1e6
            deadline = limit if deadline is None else min(deadline, limit)
        if not tenant:
            tenant = _tenant(routing)
    due = 0.0
    if deadline is None:
        served = pool.served
        seconds = (served.default_timeout_s if served else 0.0) or core.settings.default_timeout_s
        now = core.clock()
        deadline = now + seconds
        if served is not None and 0 < served.slo_latency_p99_s < seconds:
            due = now + served.slo_latency_p99_s
    shape = routing.inputs[0].shape if routing.inputs else ()
    # What is wrong about the shape the worker says; here a request counts as at least one row.
    rows = shape[0] if shape and 0 < shape[0] <= 0xFFFFFFFF else 1
    inference = Inference(
        message=message,
        pool=pool,
        wanted=routing.model_version,
        rows=rows if pool.served is None or pool.served.signature.batched else 1,
        deadline=deadline,
        on_reply=on_reply,
        on_error=on_error,
        priority=priority,
        request_id=request_id,
        traceparent=traceparent,
        tenant=tenant[:_MAX_TENANT_CHARS],
        due=due,
        trace=trace,
    )
    if pool.sharing is not None:
        pool.sharing.join(inference, routing, plain=not has_parameters)
    return inference


def _tenant(routing: routing_pb2.Request) -> str:
    """The reserved parameter `tenant`, a text; "" if it is not there."""
    if "tenant" not in routing.parameters:
        return ""
    parameter = routing.parameters["tenant"]
    if parameter.WhichOneof("choice") != "string_param":
        raise InvalidRequest("must be a text", field="parameters.tenant", remedy="send string_param")
    return parameter.string_param


def _whole_number(routing: routing_pb2.Request, name: str) -> int:
    """A reserved parameter that must be an integer >= 0; 0 if it is not there."""
    if name not in routing.parameters:
        return 0
    parameter = routing.parameters[name]
    kind = parameter.WhichOneof("choice")
    value = getattr(parameter, kind) if kind in ("int64_param", "uint64_param") else -1
    if not 0 <= value <= 0x7FFFFFFF_FFFFFFFF or (name == "priority" and value > 0x7FFFFFFF):
        raise InvalidRequest("must be an integer of at least 0", field=f"parameters.{name}", remedy="send int64_param")
    return int(value)


async def infer(
    core: Core,
    message: bytes,
    *,
    deadline: float | None,
    request_id: str,
    traceparent: str,
    tenant: str = "",
    caller: CacheUser | None = None,
    trace: Trace | None = None,
) -> bytes:
    """The serialised ModelInferResponse. Raises DodonaError; cancelling the coroutine cancels the inference. Where the
    answer may be shared, `caller` says what it takes, and is told where its answer came from."""
    future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def reply(response: bytes) -> None:
        if not future.done():
            future.set_result(response)

    def fail(error: DodonaError) -> None:
        if not future.done():
            future.set_exception(error)

    try:
        inference = inference_of(
            core,
            message,
            deadline=deadline,
            request_id=request_id,
            traceparent=traceparent,
            on_reply=reply,
            on_error=fail,
            tenant=tenant,
            trace=trace,
        )
        share = inference.share
        if share is not None and caller is not None:
            heed(inference, caller.cache_control)
        core.dispatcher.submit(inference)
    except DodonaError as error:
        if trace is not None:
            trace.refused(error)
        raise
    try:
        response = await future
    except asyncio.CancelledError:
        core.dispatcher.cancel(inference)
        raise
    if share is not None and caller is not None:
        caller.cache_status = share.status
    return response
