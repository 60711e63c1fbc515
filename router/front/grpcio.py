"""The gRPC front on grpc.aio, the reference stack: `front: grpcio`. Same handlers and same contract as `http2`.

What differs, because gRPC's core decides it before Python is asked:

- A message above twice `router.limits.max_message_bytes`, or one that inflates to more, is refused with the core's own
  text; up to there ours names the setting. So are headers above `max_header_bytes`, an unknown `grpc-encoding` and a
  malformed `grpc-timeout`.
- When a deadline passes, the core ends the call; the edge is told through `on_cancel`, the text is "Deadline Exceeded".
- A connection above `max_connections` is closed at once; flood limits, keep-alive and timeouts are the core's own:
  the block `router.http2` has no effect.
- While it drains, a call that was under way to it may be answered CANCELLED instead of UNAVAILABLE.
- A malformed frame is answered by the core, and requests that are not gRPC by closing the stream.
- One call costs about ten times the CPU (an echo: 165 us against 15 us).
- No figures of connections and calls are kept.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import unquote

import grpc
import grpc.aio

from router.front.calls import Metadata, Methods, Stream, Unary
from router.http2.grpc_message import too_large
from router.settings import Limits, Tls
from serving.errors import DodonaError, InternalError, Unimplemented

log = logging.getLogger(__name__)

# Above this the client's own limit on headers would hide the error (as in the http2 front).
_MAX_STATUS_BYTES: Final = 4096
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}

if TYPE_CHECKING:  # generic in its stubs only
    GenericHandler = grpc.GenericRpcHandler[bytes, bytes]
else:
    GenericHandler = grpc.GenericRpcHandler
Context = grpc.aio.ServicerContext[bytes, bytes]


class GrpcioFront:
    """Fulfils router.front.calls.Front. `host` is an address or a name; port 0 = any free one."""

    def __init__(
        self, methods: Methods, host: str, port: int, limits: Limits, tls: Tls, *, reuse_port: bool = False
    ) -> None:
        """`reuse_port`: other processes that say so too may listen on the port as well."""
        self._host = f"[{host}]" if ":" in host else host
        self._port = port
        self._tls = tls
        self._handlers = _Handlers(methods, limits.max_message_bytes)
        self._options = _options(limits, reuse_port)
        self._server: grpc.aio.Server | None = None

    async def start(self) -> str:
        """Listen; returns "host:port". Raises OSError."""
        server = grpc.aio.server(handlers=(self._handlers,), options=self._options)
        address = f"{self._host}:{self._port}"
        try:
            if self._tls.certificate:
                port = server.add_secure_port(address, await asyncio.to_thread(_credentials, self._tls))
            else:
                port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: address in use, not ours, or TLS files unusable") from error
        await server.start()
        self._server = server
        return f"{self._host}:{port}"

    async def drain(self, grace_s: float) -> None:
        """GOAWAY, let calls finish within `grace_s` seconds, then close."""
        if self._server is not None:
            await self._server.stop(grace_s)


def _options(limits: Limits, reuse_port: bool) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", 2 * limits.max_message_bytes),
        ("grpc.max_send_message_length", -1),  # checked here, with a text that names the setting
        ("grpc.max_metadata_size", limits.max_header_bytes),
        ("grpc.absolute_max_metadata_size", limits.max_header_bytes),
        ("grpc.max_concurrent_streams", limits.max_streams_per_connection),
        ("grpc.max_allowed_incoming_connections", limits.max_connections),
        # Of all connections together; above its own bound, 1000, the core cancels calls at random, anybody's: a single
        # caller that resets rapidly would cost all others every twentieth call.
        ("grpc.server.max_pending_requests", limits.max_in_flight),
        ("grpc.server.max_pending_requests_hard_limit", 2 * limits.max_in_flight),
        ("grpc.so_reuseport", int(reuse_port)),  # the default, 1, lets any second server silently share the port
        *_age_options(limits),
    ]


def _age_options(limits: Limits) -> list[tuple[str, int]]:
    """The core spreads ages over a tenth to either side by itself."""
    if limits.max_connection_age_s <= 0:
        return []
    return [
        ("grpc.max_connection_age_ms", max(1, round(limits.max_connection_age_s * 1000))),
        ("grpc.max_connection_age_grace_ms", max(1, round(limits.max_connection_age_grace_s * 1000))),
    ]


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    """Raises OSError if a file cannot be read."""
    chain = Path(tls.certificate).read_bytes()
    return grpc.ssl_server_credentials([(Path(tls.key).read_bytes(), chain)])


class _Handlers(GenericHandler):
    """Finds the method of a path; message bytes pass through without a serialiser."""

    def __init__(self, methods: Methods, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self._handlers = {
            path: grpc.unary_unary_rpc_method_handler(self._unary(path, method))
            if isinstance(method, Unary)
            else grpc.stream_stream_rpc_method_handler(self._stream(path, method))
            for path, method in methods.items()
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        path = handler_call_details.method
        return self._handlers.get(path) or grpc.stream_stream_rpc_method_handler(_unknown(path))

    def _unary(self, path: str, method: Unary) -> Callable[[bytes, Context], Awaitable[bytes]]:
        async def answer(message: bytes, context: Context) -> bytes:
            call = _UnaryCall(path, context, message)
            _begin(method, call, self._max_message_bytes)
            try:
                outcome, metadata = await call.answer
            except asyncio.CancelledError:
                call.abandon()
                raise
            call.on_cancel = None  # mostly leads back to this call: no circle is to be left to the garbage collector
            if isinstance(outcome, bytes) and len(outcome) > self._max_message_bytes:
                outcome = too_large(f"reply of {len(outcome)} bytes", self._max_message_bytes)
            if isinstance(outcome, DodonaError):
                await _abort(context, outcome, metadata)
            elif metadata:
                await context.send_initial_metadata(metadata)
            return outcome

        return answer

    def _stream(self, path: str, method: Stream) -> Callable[[AsyncIterator[bytes], Context], Awaitable[None]]:
        async def answer(messages: AsyncIterator[bytes], context: Context) -> None:
            try:
                await method.run(_StreamCall(path, context, messages, self._max_message_bytes))
            except DodonaError as error:
                await _abort(context, error)
            except Exception:
                await _abort(context, _fault(path))

        return answer


def _begin(method: Unary, call: "_UnaryCall", max_message_bytes: int) -> None:
    """Hand the call to the edge; whatever it raises becomes the answer."""
    if len(call.message) > max_message_bytes:
        call.fail(too_large(f"message of {len(call.message)} bytes", max_message_bytes))
        return
    try:
        method.start(call)
    except DodonaError as error:
        call.fail(error)
    except Exception:
        call.fail(_fault(call.path))


def _fault(path: str) -> InternalError:
    """Called while an exception is handled: the log gets it, the caller only learns that it happened."""
    log.exception("edge failed", extra={"path": path})
    return InternalError("internal error")


def _unknown(path: str) -> Callable[[AsyncIterator[bytes], Context], Awaitable[None]]:
    async def answer(_: AsyncIterator[bytes], context: Context) -> None:
        error = Unimplemented(f"no method {path[:200]!r}", field=":path", remedy="check service and method name")
        await _abort(context, error)

    return answer


async def _abort(context: Context, error: DodonaError, metadata: Metadata = ()) -> NoReturn:
    """End the call, all of it in the trailers. Raises grpc's own AbortError, which its server swallows."""
    if error.retry_after_s > 0:
        metadata = (*metadata, ("retry-after-ms", str(max(1, round(error.retry_after_s * 1000)))))
    text = str(error).encode("utf-8", "replace")[:_MAX_STATUS_BYTES].decode("utf-8", "ignore")
    await context.abort(_CODES[int(error.status)], text, tuple(metadata))


class _Call:
    def __init__(self, path: str, context: Context) -> None:
        self.path = path
        self.metadata: Metadata = tuple((key, value) for key, value in context.invocation_metadata() or ())
        remaining_s = context.time_remaining()
        self.deadline = None if remaining_s is None else asyncio.get_running_loop().time() + remaining_s
        # `host:port`; the core writes `ipv4:host:port`, percent-encoded. Asked now: asked after the end of the call, it
        # would crash the process (grpcio 1.85).
        self.peer = unquote(context.peer().partition(":")[2])


class _UnaryCall(_Call):
    def __init__(self, path: str, context: Context, message: bytes) -> None:
        super().__init__(path, context)
        self.message: bytes | memoryview = message
        self.on_cancel: Callable[[], None] | None = None
        self.answer: asyncio.Future[tuple[bytes | DodonaError, Metadata]] = asyncio.get_running_loop().create_future()

    def reply(self, message: bytes, metadata: Metadata = ()) -> None:
        if not self.answer.done():
            self.answer.set_result((message, metadata))

    def fail(self, error: DodonaError, metadata: Metadata = ()) -> None:
        if not self.answer.done():
            self.answer.set_result((error, metadata))

    def abandon(self) -> None:
        """The caller has gone: tell the edge, once."""
        self.answer.cancel()
        on_cancel, self.on_cancel = self.on_cancel, None
        if on_cancel is not None:
            on_cancel()


class _StreamCall(_Call):
    def __init__(self, path: str, context: Context, messages: AsyncIterator[bytes], max_message_bytes: int) -> None:
        super().__init__(path, context)
        self._context = context
        self._messages = messages
        self._max_message_bytes = max_message_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for message in self._messages:
            if len(message) > self._max_message_bytes:
                raise too_large(f"message of {len(message)} bytes", self._max_message_bytes)
            yield message

    async def send(self, message: bytes) -> None:
        if len(message) > self._max_message_bytes:
            raise too_large(f"reply of {len(message)} bytes", self._max_message_bytes)
        await self._context.write(message)
