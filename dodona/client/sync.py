"""The client for ordinary code: every call blocks until its answer, its error or its deadline."""

import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload

import grpc

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


class Client:
    """Calls a Dodona router, or any server of the Open Inference Protocol over gRPC.

        with Client("grpc://127.0.0.1:8001") as client:
            prediction = client.predict("breast-cancer", {"mean radius": 14.2, ...})

    `url` defaults to the environment's DODONA_URL, else grpc://127.0.0.1:8001; `grpcs://` is TLS, with the system's
    authorities or `ca`, and a client certificate where `certificate` and `key` (PEM files) are given. `timeout_s` is
    the deadline of calls that give none. `retries`: how often a call that was refused for the moment (UNAVAILABLE, or
    shed with a retry delay) is tried again within its deadline; 0 = never. `headers` are sent with every call.

    Safe to use from several threads. Connects at the first call. Raises ConfigurationError; every call raises the
    errors of `serving.errors`, each with the `request_id` that the server's logs carry.
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
        self._channel = _channel(self._options)
        self._calls: dict[str, Any] = {}
        self._closed = False

    @property
    def url(self) -> str:
        return str(self._options.address)

    def predict(
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
        """Ask a model for its outputs.

        `inputs`: a mapping from input names to arrays or lists; one array for a model with one input; a record
        `{feature: value}`; a list of records; or a data frame. Values are converted to the model's dtypes where that
        loses nothing; a missing batch dimension makes one row.
        `version`: a version or a label; empty = what the server serves by default. `outputs`: names of the outputs
        wanted, None = all. `priority`: 1 is the highest, 0 the model's default. `parameters` go with the request.
        Raises InvalidRequest, ModelNotFound, Unavailable, Shed, DeadlineExceeded, ModelFailed.
        """
        question = Question(model, inputs, version_text(version), outputs, request_id or "", priority, parameters)
        asked = steps.predict(question, self._known, retries=self._options.retries, random=random.random)
        return self._carry_out(asked, timeout_s, request_id)

    @overload
    def predict_many(
        self, model: str, batches: Iterable[Any], *, return_errors: Literal[False] = ..., **options: Any
    ) -> Iterator[Prediction]: ...
    @overload
    def predict_many(
        self, model: str, batches: Iterable[Any], *, return_errors: Literal[True], **options: Any
    ) -> Iterator[Prediction | DodonaError]: ...
    def predict_many(
        self, model: str, batches: Iterable[Any], *, in_flight: int = 16, return_errors: bool = False, **options: Any
    ) -> Iterator[Prediction | DodonaError]:
        """One `predict` for each element of `batches`, up to `in_flight` at a time, answers in the same order.

        `batches` is read as answers are taken, so it may be endless. `options` are those of `predict`. The first
        error is raised and the rest is given up; with `return_errors` it takes the answer's place instead.
        """

        def one(inputs: Any) -> Prediction | DodonaError:
            try:
                return self.predict(model, inputs, **options)
            except DodonaError as error:
                if return_errors:
                    return error
                raise

        with ThreadPoolExecutor(max(1, in_flight), thread_name_prefix="dodona-predict") as pool:
            waiting: deque[Future[Prediction | DodonaError]] = deque()
            try:
                for inputs in batches:
                    waiting.append(pool.submit(one, inputs))
                    if len(waiting) >= max(1, in_flight):
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def stream(
        self,
        model: str,
        inputs: Iterable[Any],
        *,
        version: str | int = "",
        outputs: Sequence[str] | None = None,
        timeout_s: float | None = None,
        parameters: Parameters | None = None,
    ) -> Iterator[Prediction]:
        """Send each element of `inputs` over one stream (ModelStreamInfer) and yield answers as they come; a model may
        give none or several for one. `Prediction.id` is the element's position as text. `timeout_s` bounds the whole
        stream. An element the server refuses raises its error, after the answers before it."""
        timeout_s = self._options.timeout_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + timeout_s
        request_id = self._ids.new()
        description, _ = self._carry_out(
            steps.described(model, version_text(version), self._known), timeout_s, request_id
        )
        feed = StreamFeed(Question(model, None, version_text(version), outputs, "", 0, parameters), description)
        call = self._method(MODEL_STREAM_INFER)(
            feed.requests(inputs),
            timeout=deadline - time.monotonic(),
            metadata=(*transport.call_metadata(self._options, request_id), transport.ERROR_AS_STATUS),
        )
        try:
            for message in call:
                prediction = feed.answer(message, request_id)
                version_check = feed.confirmed(prediction, self._known)
                self._carry_out(version_check, deadline - time.monotonic(), request_id)
                yield prediction
            feed.finish()
        except grpc.RpcError as error:
            feed.finish()
            raise transport.failure(error, self._options, timeout_s, request_id) from None
        finally:
            call.cancel()

    def metadata(self, model: str, version: str | int = "", *, timeout_s: float | None = None) -> Description:
        """Names, dtypes, shapes, columns and labels of a model's inputs and outputs, asked afresh."""
        return self._carry_out(steps.metadata(model, version_text(version)), timeout_s)

    def config(
        self, model: str, version: str | int = "", *, timeout_s: float | None = None
    ) -> model_config_pb2.ModelConfig:
        return self._carry_out(steps.config(model, version_text(version)), timeout_s)

    def live(self, *, timeout_s: float | None = None) -> bool:
        """Whether a server answers."""
        return self._carry_out(steps.live(), timeout_s)

    def ready(self, model: str = "", version: str | int = "", *, timeout_s: float | None = None) -> bool:
        """Whether the model, or without one the whole server, can answer predictions."""
        return self._carry_out(steps.ready(model, version_text(version)), timeout_s)

    def models(self, *, ready_only: bool = False, timeout_s: float | None = None) -> list[ModelEntry]:
        """Every model version the server knows, with its state and, where it is not ready, the reason."""
        return self._carry_out(steps.models(ready_only), timeout_s)

    def statistics(
        self, model: str = "", version: str | int = "", *, timeout_s: float | None = None
    ) -> list[inference_pb2.ModelStatistics]:
        """Counts and times since the server started, one entry a version; without a model, of all of them."""
        return self._carry_out(steps.statistics(model, version_text(version)), timeout_s)

    def status(self, *, timeout_s: float | None = None) -> admin_pb2.StatusResponse:
        """The router's workers, models and queues (Dodona only)."""
        return self._carry_out(steps.status(), timeout_s)

    def load(self, model: str, config: str = "", *, timeout_s: float | None = None) -> None:
        """Load a model of the repository, or load it again; returns when it is ready."""
        self._carry_out(steps.load(model, config), timeout_s)

    def unload(self, model: str, *, timeout_s: float | None = None) -> None:
        self._carry_out(steps.unload(model), timeout_s)

    def close(self) -> None:
        """Close the connection; calls in progress end as Cancelled. Harmless when closed already."""
        self._closed = True
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _carry_out(self, asked: Steps[T], timeout_s: float | None, request_id: str | None = None) -> T:
        timeout_s = self._options.timeout_s if timeout_s is None else timeout_s
        request_id = request_id or self._ids.new()
        deadline = time.monotonic() + timeout_s
        try:
            step = next(asked)
            while True:
                try:
                    reply = self._take(step, deadline, timeout_s, request_id)
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

    def _take(self, step: Rpc | Pause, deadline: float, timeout_s: float, request_id: str) -> Reply | None:
        remaining_s = deadline - time.monotonic()
        if isinstance(step, Pause):
            if step.seconds >= remaining_s:
                raise step.error
            time.sleep(step.seconds)
            return None
        if remaining_s <= 0:
            raise DeadlineExceeded(f"no answer within {timeout_s:g} s", remedy="allow more with timeout_s=")
        started = time.monotonic()
        try:
            message, call = self._method(step.method).with_call(
                step.request, timeout=remaining_s, metadata=transport.call_metadata(self._options, request_id)
            )
        except grpc.RpcError as error:
            raise transport.failure(error, self._options, timeout_s, request_id) from None
        metadata = transport.text_metadata(call.initial_metadata(), call.trailing_metadata())
        # A server that does not echo the id has been told it all the same.
        return Reply(message, {"x-request-id": request_id} | metadata, time.monotonic() - started)

    def _method(self, method: AnyMethod) -> Any:
        if self._closed:
            raise RuntimeError("this client is closed")
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


def _channel(options: Options) -> grpc.Channel:
    arguments = transport.channel_arguments(options)
    if options.address.secure:
        return grpc.secure_channel(options.address.target, transport.credentials(options), arguments)
    return grpc.insecure_channel(options.address.target, arguments)
