"""The forms an RPC takes here: a plain function of its request message, or a coroutine."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from router.edge.intake import request_id_from
from router.front.calls import Metadata, StreamCall, Unary, UnaryCall
from serving.errors import DodonaError, InternalError, InvalidRequest

log = logging.getLogger(__name__)

Request = TypeVar("Request", bound=Message)


def parse(kind: type[Request], message: bytes | memoryview) -> Request:
    """Raises InvalidRequest naming the message type."""
    try:
        return kind.FromString(bytes(message))
    except DecodeError:
        raise InvalidRequest(
            f"not a serialised {kind.DESCRIPTOR.full_name}", field="request", remedy="check the client's protobuf"
        ) from None


def identity(metadata: Metadata, tenant_header: str = "") -> tuple[str, str, str]:
    """The request id, a new one if the caller sent none, its traceparent or "", and its tenant or ""."""
    request_id = traceparent = tenant = None
    for name, value in metadata:
        if name == "x-request-id":
            request_id = value
        elif name == "traceparent":
            traceparent = value
        elif name == tenant_header:
            tenant = value
    return (
        request_id_from(request_id),
        traceparent if isinstance(traceparent, str) else "",
        tenant if isinstance(tenant, str) else "",
    )


def plain(kind: type[Request], answer: Callable[[Request], Message]) -> Unary:
    """A unary RPC answered at once by `answer`, which may raise DodonaError. The request id is echoed."""

    def start(call: UnaryCall) -> None:
        request_id, _, _ = identity(call.metadata)
        echo = (("x-request-id", request_id),)
        try:
            reply = answer(parse(kind, call.message)).SerializeToString()
        except DodonaError as error:
            call.fail(error, echo)
        else:
            call.reply(reply, echo)

    return Unary(start)


def waiting(kind: type[Request], answer: Callable[[Request], Awaitable[Message]]) -> Unary:
    """A unary RPC whose answer takes a coroutine; it ends when the caller goes away. The request id is echoed."""
    tasks: set[asyncio.Future[None]] = set()

    async def run(call: UnaryCall, request: Request, echo: Metadata) -> None:
        try:
            reply = (await answer(request)).SerializeToString()
        except DodonaError as error:
            call.fail(error, echo)
        except Exception:
            log.exception("edge failed", extra={"path": call.path})
            call.fail(InternalError("internal error"), echo)
        else:
            call.reply(reply, echo)

    def start(call: UnaryCall) -> None:
        request_id, _, _ = identity(call.metadata)
        echo = (("x-request-id", request_id),)
        try:
            request = parse(kind, call.message)
        except DodonaError as error:
            call.fail(error, echo)
            return
        task = asyncio.ensure_future(run(call, request, echo))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

        def gone() -> None:
            task.cancel()

        call.on_cancel = gone

    return Unary(start)


async def only_message(call: StreamCall) -> bytes:
    """The message of a call that carries exactly one. Raises InvalidRequest."""
    first: bytes | memoryview | None = None
    async for message in call:
        if first is not None:
            raise _not_unary(call, "more")
        first = message
    if first is None:
        raise _not_unary(call, "none")
    return bytes(first)


def _not_unary(call: StreamCall, got: str) -> InvalidRequest:
    return InvalidRequest(
        f"{call.path} takes exactly one message, got {got}", field="request", remedy="call it as a unary method"
    )
