"""ModelStreamInfer: many inferences over one call, pipelined.

Up to MAX_IN_FLIGHT requests of a stream are at work at once; then it is not read on, and flow control holds the caller
back. Answers come in the order of the requests, as Triton gives them for models with one answer a request: a caller
may count instead of matching ids, at the price that a slow request holds back the answers behind it.

A request that fails is answered by `error_message`, with its id and model in `infer_response`, and the stream lives on.
A caller that sends the metadata `triton_grpc_error: true` wants the stream to end with the error's status instead.
Each answer carries the parameter `triton_final_response: true`, by which clients know that no more will come for it;
one that is not from a run of its own says so in the parameter `cache_status`.

When the router drains, what was read is answered, then the stream ends with UNAVAILABLE.
"""

import asyncio
from typing import Final

from google.protobuf.message import DecodeError

from protos import inference_pb2, routing_pb2
from router.core import Core
from router.edge.caching import cache_control, heed
from router.edge.grpc.draining import drained, until_draining
from router.edge.grpc.rpc import identity
from router.edge.intake import inference_of
from router.front.calls import Message, Stream, StreamCall
from router.request import Inference
from router.tracing import grpc_origin
from serving.errors import DodonaError
from serving.wire import head

MAX_IN_FLIGHT: Final = 256
"""Requests of one stream that are at work or wait for their turn to be written."""

# Serialised messages concatenate: this one, appended to an answer, adds the parameter to it.
_FINAL: Final = inference_pb2.ModelInferResponse(
    parameters={"triton_final_response": inference_pb2.InferParameter(bool_param=True)}
).SerializeToString()
_INFER_RESPONSE_FIELD: Final = inference_pb2.ModelStreamInferResponse.INFER_RESPONSE_FIELD_NUMBER

Outcome = bytes | DodonaError

_ORIGIN: Final = grpc_origin("ModelStreamInfer")


def model_stream_infer(core: Core) -> Stream:
    async def run(call: StreamCall) -> None:
        await _Conversation(core, call).run()

    return Stream(run)


class _Exchange:
    """One request of the stream and its answer to come. `inference` is None where it was refused at once."""

    __slots__ = ("inference", "message", "outcome")

    def __init__(self, message: Message, outcome: asyncio.Future[Outcome]) -> None:
        self.message = message
        self.outcome = outcome
        self.inference: Inference | None = None

    @property
    def cache_status(self) -> str:
        share = self.inference.share if self.inference is not None else None
        return share.status if share is not None else ""

    def settle(self, outcome: Outcome) -> None:
        if not self.outcome.done():  # the stream may have been cancelled in this very turn of the loop
            self.outcome.set_result(outcome)


class _Conversation:
    """One stream: `_read` starts inferences, `_write` answers them in order."""

    def __init__(self, core: Core, call: StreamCall) -> None:
        self._core = core
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._exchanges: asyncio.Queue[_Exchange | None] = asyncio.Queue()
        self._writing: _Exchange | None = None
        tenant_header = core.settings.fairness.tenant_header
        self._request_id, self._traceparent, self._tenant = identity(call.metadata, tenant_header)
        self._cache_control = cache_control(call.metadata)
        self._ends_on_error = ("triton_grpc_error", "true") in call.metadata

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(self._read())
                draining = tasks.create_task(self._end_when_draining(reading))
                await self._write()
                draining.cancel()
        except BaseExceptionGroup as group:  # the front translates one error, not a group of them
            raise group.exceptions[0] from None
        finally:
            self._cancel_unanswered()
        if reading.cancelled():
            raise drained()

    async def _read(self) -> None:
        number = 0
        async for message in self._call:
            await self._room.acquire()
            number += 1
            self._exchanges.put_nowait(self._start(message, number))
        self._exchanges.put_nowait(None)

    def _start(self, message: Message, number: int) -> _Exchange:
        exchange = _Exchange(message, self._loop.create_future())
        tracer = self._core.tracer
        trace = tracer.begin(_ORIGIN, self._traceparent, self._call.metadata) if tracer is not None else None
        try:
            inference = inference_of(
                self._core,
                message,
                deadline=self._call.deadline,
                request_id=f"{self._request_id}.{number}",
                traceparent=self._traceparent,
                on_reply=exchange.settle,
                on_error=exchange.settle,
                tenant=self._tenant,
                trace=trace,
            )
            if inference.share is not None:
                heed(inference, self._cache_control)
            self._core.dispatcher.submit(inference)
            exchange.inference = inference
        except DodonaError as error:
            if trace is not None:
                trace.refused(error)
            exchange.settle(error)
        return exchange

    async def _write(self) -> None:
        while (exchange := await self._exchanges.get()) is not None:
            self._writing = exchange
            outcome = await exchange.outcome
            if isinstance(outcome, bytes):
                await self._call.send(_wrapped(outcome, exchange.cache_status))
            elif self._ends_on_error:
                raise outcome
            else:
                await self._call.send(_refusal(exchange.message, outcome))
            self._room.release()

    async def _end_when_draining(self, reading: asyncio.Task[None]) -> None:
        await until_draining(self._core)
        reading.cancel()
        self._exchanges.put_nowait(None)

    def _cancel_unanswered(self) -> None:
        exchange = self._writing
        while True:
            if exchange is not None and exchange.inference is not None:
                self._core.dispatcher.cancel(exchange.inference)
            if self._exchanges.empty():
                return
            exchange = self._exchanges.get_nowait()


def _wrapped(response: bytes, cache_status: str = "") -> bytes:
    """A ModelStreamInferResponse around a serialised ModelInferResponse, which is not decoded for it."""
    tail = _FINAL
    if cache_status:
        parameter = inference_pb2.InferParameter(string_param=cache_status)
        tail += inference_pb2.ModelInferResponse(parameters={"cache_status": parameter}).SerializeToString()
    return b"".join((head(_INFER_RESPONSE_FIELD, len(response) + len(tail)), response, tail))


def _refusal(message: Message, error: DodonaError) -> bytes:
    try:
        routing = routing_pb2.Request.FromString(bytes(message))
    except DecodeError:
        routing = routing_pb2.Request()
    response = inference_pb2.ModelInferResponse(
        model_name=routing.model_name, model_version=routing.model_version, id=routing.id
    )
    response.parameters["triton_final_response"].bool_param = True
    return inference_pb2.ModelStreamInferResponse(error_message=str(error), infer_response=response).SerializeToString()
