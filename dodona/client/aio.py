"""The client for asyncio: the same calls as `Client`, awaited. Cancelling a task cancels its call on the server."""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload

import grpc
import grpc.aio

from dodona.client import steps, transport
from dodona.client.codec import Parameters, version_text
from dodona.client.description import Description, ModelEntry
from dodona.client.methods import MODEL_STREAM_INFER, AnyMethod
from dodona.client.options import DEFAULT_MESSAGE_BYTES, Options, options_from
from dodona.client.prediction import Prediction
from dodona.client.steps import Pause, Question, Reply, Rpc, Steps
from dodona.client.streaming import StreamFeed
from protos import admin_pb2, inference_pb2, model_config_pb2
from serving.errors import DeadlineExceeded, DodonaError

T = TypeVar("T")


class AsyncClient:
    """`Client` for asyncio; its arguments, calls and errors are the same.

        async with AsyncClient() as client:
            prediction = await client.predict("digits", image)

    Belongs to the event loop of its first call.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        timeout_s: float = 30.0,
        retries: int = 0,
        ca: str | Path | None = None,
        certificate: str | Path | None = None,
        key: str | Path | None = None,
        headers: Mapping[str, str] | None = None,
        max_message_bytes: int = DEFAULT_MESSAGE_BYTES,
    ) -> None:
        self._options = options_from(
            url,
            timeout_s=timeout_s,
            retries=retries,
            max_message_bytes=max_message_bytes,
            headers=headers,
            ca=ca,
            certificate=certificate,
            key=key,
        )
        self._known = steps.Descriptions()
        self._ids = transport.RequestIds()
        # A channel of grpc.aio binds to the running loop, and there may be none yet.
        self._channel: grpc.aio.Channel | None = None
        self._calls: dict[str, Any] = {}
        self._closed = False

    @property
    def url(self) -> str:
        return str(self._options.address)

    async def predict(
        self,
        model: str,
        inputs: Any,
        *,
        version: str | int = "",
        outputs: Sequence[str] | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
        priority: int = 0,
        parameters: Parameters | None = None,
    ) -> Prediction:
        """See `Client.predict`."""
        question = Question(model, inputs, version_text(version), outputs, request_id or "", priority, parameters)
        asked = steps.predict(question, self._known, retries=self._options.retries, random=random.random)
        return await self._carry_out(asked, timeout_s, request_id)

    @overload
    def predict_many(
        self,
        model: str,
        batches: Iterable[Any] | AsyncIterable[Any],
        *,
        return_errors: Literal[False] = ...,
        **options: Any,
    ) -> AsyncIterator[Prediction]: ...
    @overload
    def predict_many(
        self, model: str, batches: Iterable[Any] | AsyncIterable[Any], *, return_errors: Literal[True], **options: Any
    ) -> AsyncIterator[Prediction | DodonaError]: ...
    async def predict_many(
        self,
        model: str,
        batches: Iterable[Any] | AsyncIterable[Any],
        *,
        in_flight: int = 16,
        return_errors: bool = False,
        **options: Any,
    ) -> AsyncIterator[Prediction | DodonaError]:
        """See `Client.predict_many`; `batches` may be asynchronous too."""

        async def one(inputs: Any) -> Prediction | DodonaError:
            try:
                return await self.predict(model, inputs, **options)
            except DodonaError as error:
                if return_errors:
                    return error
                raise

        waiting: deque[asyncio.Task[Prediction | DodonaError]] = deque()
        try:
            async for inputs in _async_iterator(batches):
                waiting.append(asyncio.create_task(one(inputs)))
                if len(waiting) >= max(1, in_flight):
                    yield await waiting[0]
                    waiting.popleft()
            while waiting:
                yield await waiting[0]
                waiting.popleft()
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def stream(
        self,
        model: str,
        inputs: Iterable[Any] | AsyncIterable[Any],
        *,
        version: str | int = "",
        outputs: Sequence[str] | None = None,
        timeout_s: float | None = None,
        parameters: Parameters | None = None,
    ) -> AsyncIterator[Prediction]:
        """See `Client.stream`; `inputs` may be asynchronous too."""
        timeout_s = self._options.timeout_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + timeout_s
        request_id = self._ids.new()
        description, _ = await self._carry_out(
            steps.described(model, version_text(version), self._known), timeout_s, request_id
        )
        feed = StreamFeed(Question(model, None, version_text(version), outputs, "", 0, parameters), description)
        call = self._method(MODEL_STREAM_INFER)(
            feed.requests_async(_async_iterator(inputs)),
            timeout=deadline - time.monotonic(),
            metadata=(*transport.call_metadata(self._options, request_id), transport.ERROR_AS_STATUS),
        )
        try:
            async for message in call:
                prediction = feed.answer(message, request_id)
                version_check = feed.confirmed(prediction, self._known)
                await self._carry_out(version_check, deadline - time.monotonic(), request_id)
                yield prediction
            feed.finish()
        except grpc.aio.AioRpcError as error:
            feed.finish()
            raise transport.failure(error, self._options, timeout_s, request_id) from None
        finally:
            call.cancel()

    async def metadata(self, model: str, version: str | int = "", *, timeout_s: float | None = None) -> Description:
        """See `Client.metadata`."""
        return await self._carry_out(steps.metadata(model, version_text(version)), timeout_s)

    async def config(
        self, model: str, version: str | int = "", *, timeout_s: float | None = None
    ) -> model_config_pb2.ModelConfig:
        return await self._carry_out(steps.config(model, version_text(version)), timeout_s)

    async def live(self, *, timeout_s: float | None = None) -> bool:
        """Whether a server answers."""
        return await self._carry_out(steps.live(), timeout_s)

    async def ready(self, model: str = "", version: str | int = "", *, timeout_s: float | None = None) -> bool:
        """Whether the model, or without one the whole server, can answer predictions."""
        return await self._carry_out(steps.ready(model, version_text(version)), timeout_s)

    async def models(self, *, ready_only: bool = False, timeout_s: float | None = None) -> list[ModelEntry]:
        """See `Client.models`."""
        return await self._carry_out(steps.models(ready_only), timeout_s)

    async def statistics(
        self, model: str = "", version: str | int = "", *, timeout_s: float | None = None
    ) -> list[inference_pb2.ModelStatistics]:
        """See `Client.statistics`."""
        return await self._carry_out(steps.statistics(model, version_text(version)), timeout_s)

    async def status(self, *, timeout_s: float | None = None) -> admin_pb2.StatusResponse:
        """The router's workers, models and queues (Dodona only)."""
        return await self._carry_out(steps.status(), timeout_s)

    async def load(self, model: str, config: str = "", *, timeout_s: float | None = None) -> None:
        """Load a model of the repository, or load it again; returns when it is ready."""
        await self._carry_out(steps.load(model, config), timeout_s)

    async def unload(self, model: str, *, timeout_s: float | None = None) -> None:
        await self._carry_out(steps.unload(model), timeout_s)

    async def close(self) -> None:
        """Close the connection; calls in progress end as Cancelled. Harmless when closed already."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _carry_out(self, asked: Steps[T], timeout_s: float | None, request_id: str | None = None) -> T:
        timeout_s = self._options.timeout_s if timeout_s is None else timeout_s
        request_id = request_id or self._ids.new()
        deadline = time.monotonic() + timeout_s
        try:
            step = next(asked)
            while True:
                try:
                    reply = await self._take(step, deadline, timeout_s, request_id)
                except DodonaError as error:
                    step = asked.throw(error)
                else:
                    step = asked.send(reply)
        except StopIteration as done:
            result: T = done.value
            return result
        except DodonaError as error:
            error.request_id = error.request_id or request_id
            raise

    async def _take(self, step: Rpc | Pause, deadline: float, timeout_s: float, request_id: str) -> Reply | None:
        remaining_s = deadline - time.monotonic()
        if isinstance(step, Pause):
            if step.seconds >= remaining_s:
                raise step.error
            await asyncio.sleep(step.seconds)
            return None
        if remaining_s <= 0:
            raise DeadlineExceeded(f"no answer within {timeout_s:g} s", remedy="allow more with timeout_s=")
        started = time.monotonic()
        call = self._method(step.method)(
            step.request, timeout=remaining_s, metadata=transport.call_metadata(self._options, request_id)
        )
        try:
            message = await call
        except grpc.aio.AioRpcError as error:
            raise transport.failure(error, self._options, timeout_s, request_id) from None
        metadata = transport.text_metadata(await call.initial_metadata(), await call.trailing_metadata())
        # A server that does not echo the id has been told it all the same.
        return Reply(message, {"x-request-id": request_id} | metadata, time.monotonic() - started)

    def _method(self, method: AnyMethod) -> Any:
        if self._closed:
            raise RuntimeError("this client is closed")
        if self._channel is None:
            self._channel = _channel(self._options)
        call = self._calls.get(method.path)
        if call is None:
            open_call: Callable[..., Any] = (
                self._channel.stream_stream if method is MODEL_STREAM_INFER else self._channel.unary_unary
            )
            call = self._calls[method.path] = open_call(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
        return call


async def _async_iterator(values: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    if isinstance(values, AsyncIterable):
        async for value in values:
            yield value
    else:
        for value in values:
            yield value


def _channel(options: Options) -> grpc.aio.Channel:
    arguments = transport.channel_arguments(options)
    if options.address.secure:
        return grpc.aio.secure_channel(options.address.target, transport.credentials(options), arguments)
    return grpc.aio.insecure_channel(options.address.target, arguments)
