"""What each call of the client does, as generators that yield remote calls and pauses and are sent the replies.

    steps = predict(...)              # a generator
    step = next(steps)                # Rpc(method, request): the shell makes the call ...
    step = steps.send(Reply(...))     # ... and sends the reply, or throws the DodonaError it got
    ... until StopIteration.value     # the result

No clock, no channel, no threads: `Client` blocks and `AsyncClient` awaits over the very same steps.

A model without a given version may change between two calls, and a record is put into columns by what the server said
about them. So the answer's version is looked up (once for each version ever seen), and if that version arranges its
inputs in another way than assumed, the request is arranged anew and sent again, to that version.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar, cast

from google.protobuf.message import Message

from dodona.client import methods
from dodona.client.codec import Parameters, decode, encode, parse_timings
from dodona.client.description import Description, ModelEntry, describe
from dodona.client.inputs import tensors_from
from dodona.client.methods import AnyMethod, Method, Request, Response
from dodona.client.prediction import Prediction
from protos import admin_pb2, inference_pb2, model_config_pb2
from serving.errors import DodonaError, InvalidRequest, ModelNotFound, Shed, Unavailable, Unimplemented

MAX_DESCRIPTIONS: Final = 1024
FIRST_PAUSE_S: Final = 0.1
MAX_PAUSE_S: Final = 5.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rpc:
    method: AnyMethod
    request: Message


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds; if the deadline comes first, throw `error` instead."""

    seconds: float
    error: DodonaError


@dataclass(frozen=True, slots=True)
class Reply:
    """`metadata`: initial and trailing metadata together. `elapsed_s` is the time of the remote call."""

    message: Message
    metadata: Mapping[str, str] = field(default_factory=dict)
    elapsed_s: float = 0.0


Steps: TypeAlias = Generator[Rpc | Pause, Reply | None, T]


class Descriptions:
    """What is known of models, by (name, version asked for); bounded, the oldest goes first."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Description] = {}

    def get(self, model: str, version: str) -> Description | None:
        return self._known.get((model, version))

    def put(self, model: str, version: str, description: Description) -> None:
        if len(self._known) >= MAX_DESCRIPTIONS:
            self._known.pop(next(iter(self._known)), None)
        self._known[model, version] = description

    def forget(self, model: str, version: str) -> None:
        self._known.pop((model, version), None)


@dataclass(frozen=True, slots=True)
class Question:
    """One prediction as the caller asked for it."""

    model: str
    inputs: Any
    version: str = ""
    outputs: Sequence[str] | None = None
    id: str = ""
    priority: int = 0
    parameters: Parameters | None = None

    def encoded(self, model: Description, version: str) -> tuple[inference_pb2.ModelInferRequest, bool]:
        """The request message, and whether it rests on the order of the model's inputs or columns."""
        tensors = tensors_from(self.inputs, model)
        request = encode(
            self.model,
            version,
            tensors,
            outputs=self.outputs,
            id=self.id,
            priority=self.priority,
            parameters=self.parameters,
        )
        return request, tensors.positional


def ask(method: Method[Request, Response], request: Request) -> Steps[tuple[Response, Reply]]:
    reply = yield Rpc(method, request)
    assert reply is not None, "a shell answers every Rpc with a Reply"
    return cast(Response, reply.message), reply


def predict(question: Question, known: Descriptions, *, retries: int, random: Callable[[], float]) -> Steps[Prediction]:
    """Raises what the server answers; see the module's text for what happens when the model changes meanwhile."""
    model, fresh = yield from described(question.model, question.version, known)
    try:
        request, positional = question.encoded(model, question.version)
        prediction = yield from _infer(request, retries, random)
    except (InvalidRequest, ModelNotFound):
        known.forget(question.model, question.version)
        if fresh:
            raise
        renewed, _ = yield from described(question.model, question.version, known)
        if renewed == model:
            raise
        model = renewed
        request, positional = question.encoded(model, question.version)
        prediction = yield from _infer(request, retries, random)
    if positional:
        answering = yield from confirmed(question, model, prediction.version, known)
        if answering is not None:
            request, _ = question.encoded(answering, prediction.version)
            prediction = yield from _infer(request, retries, random)
    return prediction


def confirmed(question: Question, model: Description, version: str, known: Descriptions) -> Steps[Description | None]:
    """None if `version`, which answered, takes its inputs as `model` says; else its own description."""
    if not version or version == question.version:
        return None
    answering, _ = yield from described(question.model, version, known)
    if answering.inputs == model.inputs and answering.signature.batched == model.signature.batched:
        return None
    known.put(question.model, question.version, answering)
    return answering


def _infer(request: inference_pb2.ModelInferRequest, retries: int, random: Callable[[], float]) -> Steps[Prediction]:
    attempt = 0
    while True:
        try:
            response, reply = yield from ask(methods.MODEL_INFER, request)
        except (Unavailable, Shed) as error:
            # A shed without a delay is a limit that will be there next time too.
            if attempt >= retries or (isinstance(error, Shed) and not error.retry_after_s):
                raise
            yield Pause(pause_before(attempt, error.retry_after_s, random()), error)
            attempt += 1
        else:
            return prediction_of(response, reply)


def pause_before(attempt: int, retry_after_s: float, jitter: float) -> float:
    """Seconds before retry `attempt` (0 = the first): doubling from 0.1 s up to 5 s, never less than the server asked
    for, with up to half as much again (`jitter` in 0..1) so that callers do not come back together."""
    pause_s: float = max(min(FIRST_PAUSE_S * 2**attempt, MAX_PAUSE_S), retry_after_s)
    return pause_s * (1 + jitter / 2)


def prediction_of(response: inference_pb2.ModelInferResponse, reply: Reply) -> Prediction:
    metadata = reply.metadata
    return decode(
        response,
        request_id=metadata.get("x-request-id", ""),
        timings=parse_timings(metadata.get("server-timing", "")),
        elapsed_s=reply.elapsed_s,
    )


def described(model: str, version: str, known: Descriptions) -> Steps[tuple[Description, bool]]:
    """The description, and whether it was fetched just now."""
    if (description := known.get(model, version)) is not None:
        return description, False
    description = yield from metadata(model, version)
    known.put(model, version, description)
    return description, True


def metadata(model: str, version: str) -> Steps[Description]:
    response, _ = yield from ask(
        methods.MODEL_METADATA, inference_pb2.ModelMetadataRequest(name=model, version=version)
    )
    try:
        model_config = yield from config(model, version)
    except Unimplemented:
        return describe(response, None)
    return describe(response, model_config)


def config(model: str, version: str) -> Steps[model_config_pb2.ModelConfig]:
    response, _ = yield from ask(methods.MODEL_CONFIG, inference_pb2.ModelConfigRequest(name=model, version=version))
    return response.config


def live() -> Steps[bool]:
    """False where nothing answers."""
    try:
        response, _ = yield from ask(methods.SERVER_LIVE, inference_pb2.ServerLiveRequest())
    except Unavailable:
        return False
    return response.live


def ready(model: str, version: str) -> Steps[bool]:
    """Of a model, or of the server where `model` is empty. False where nothing answers."""
    try:
        if model:
            request = inference_pb2.ModelReadyRequest(name=model, version=version)
            of_model, _ = yield from ask(methods.MODEL_READY, request)
            return of_model.ready
        of_server, _ = yield from ask(methods.SERVER_READY, inference_pb2.ServerReadyRequest())
    except (Unavailable, ModelNotFound):
        return False
    return of_server.ready


def models(ready_only: bool) -> Steps[list[ModelEntry]]:
    request = inference_pb2.RepositoryIndexRequest(ready=ready_only)
    response, _ = yield from ask(methods.REPOSITORY_INDEX, request)
    return [ModelEntry(entry.name, entry.version, entry.state, entry.reason) for entry in response.models]


def statistics(model: str, version: str) -> Steps[list[inference_pb2.ModelStatistics]]:
    request = inference_pb2.ModelStatisticsRequest(name=model, version=version)
    response, _ = yield from ask(methods.MODEL_STATISTICS, request)
    return list(response.model_stats)


def status() -> Steps[admin_pb2.StatusResponse]:
    response, _ = yield from ask(methods.STATUS, admin_pb2.StatusRequest())
    return response


def load(model: str, config: str) -> Steps[None]:
    request = inference_pb2.RepositoryModelLoadRequest(model_name=model)
    if config:
        request.parameters["config"].string_param = config
    yield from ask(methods.REPOSITORY_LOAD, request)


def unload(model: str) -> Steps[None]:
    yield from ask(methods.REPOSITORY_UNLOAD, inference_pb2.RepositoryModelUnloadRequest(model_name=model))
