"""One ModelStreamInfer stream: the requests that go in, the answers that come out, the same for both clients."""

from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import replace
from typing import Any

from dodona.client import steps
from dodona.client.description import Description
from dodona.client.prediction import Prediction
from dodona.client.steps import Descriptions, Question, Reply, Steps
from protos import inference_pb2
from serving.errors import ModelFailed, Unavailable


class StreamFeed:
    """Encodes elements as they are taken. gRPC swallows what its request iterator raises, so an error ends the
    requests and is kept for `finish`, which raises it after the answers to what went before."""

    def __init__(self, question: Question, model: Description) -> None:
        self._question = question
        self._model = model
        self._positional = False
        self._confirmed: set[str] = set()
        self._error: Exception | None = None
        self._sent = 0

    def requests(self, inputs: Iterable[Any]) -> Iterator[inference_pb2.ModelInferRequest]:
        try:
            for value in inputs:
                yield self._encoded(value)
        except Exception as error:  # whatever the caller's iterable raises reaches the caller
            self._error = error

    async def requests_async(self, inputs: AsyncIterator[Any]) -> AsyncIterator[inference_pb2.ModelInferRequest]:
        try:
            async for value in inputs:
                yield self._encoded(value)
        except Exception as error:  # as above
            self._error = error

    def _encoded(self, value: Any) -> inference_pb2.ModelInferRequest:
        question = replace(self._question, inputs=value, id=str(self._sent))
        request, positional = question.encoded(self._model, question.version)
        self._positional |= positional
        self._sent += 1
        return request

    def answer(self, message: inference_pb2.ModelStreamInferResponse, request_id: str) -> Prediction:
        """Raises ModelFailed with the text the server sent in place of an answer."""
        if message.error_message:
            failed = ModelFailed(message.error_message)
            failed.request_id = request_id
            raise failed
        return steps.prediction_of(message.infer_response, Reply(message, {"x-request-id": request_id}))

    def confirmed(self, prediction: Prediction, known: Descriptions) -> Steps[None]:
        """Raises Unavailable if the version that answered takes its inputs in another way than they were sent."""
        version = prediction.version
        if not self._positional or version in self._confirmed:
            return
        if (yield from steps.confirmed(self._question, self._model, version, known)) is not None:
            raise Unavailable(
                f"version {version} of {prediction.model}, which takes other inputs, came in during the stream",
                remedy="start the stream again, or name a version",
            )
        self._confirmed.add(version)

    def finish(self) -> None:
        """Raises what ended the requests early, if anything did."""
        if self._error is not None:
            raise self._error
