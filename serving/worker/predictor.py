"""The recipe of one model version: decode, assemble, predict, encode. Synchronous; knows no queue and no network."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

from serving.bundle.definition import Batching
from serving.errors import DodonaError, ModelFailed
from serving.runtimes.base import Arrays, Runtime, ways_of
from serving.spec import ModelSpec, Signature
from serving.worker.assemble import Assembler
from serving.worker.decode import Decoder
from serving.worker.encode import Encoder
from serving.worker.request import DecodedRequest

_MAX_MESSAGE_CHARS = 2000


@dataclass(slots=True)
class Answered:
    """What one run of the runtime gave: a response or failure per request, in their order; times in seconds."""

    responses: list[bytes | DodonaError]
    rows: int
    assemble_s: float
    infer_s: float
    encode_s: float
    runtime: str = ""
    """Who ran it: the framework, or what it was compiled for."""
    began: float = 0.0
    """When the batcher began the run, by its clock."""


class Predictor:
    """`run` and `predict` are called from one thread at a time; `decode` at any time."""

    def __init__(
        self, spec: ModelSpec, signature: Signature, runtime: Runtime, batching: Batching, framework: str = ""
    ) -> None:
        self.spec = spec
        self.signature = signature
        self.max_batch_rows = batching.max_batch_rows if signature.batched else 1
        self.max_wait_s = batching.max_wait_s if signature.batched else 0.0
        self.device = runtime.device
        self._runtime = runtime
        self._framework = framework
        self._ways = ways_of(runtime)
        self.plan = self._ways.plan if self._ways else None
        """Who answers when, for a runtime with more than one way."""
        self.decode = Decoder(signature, max_batch_rows=self.max_batch_rows, text_inputs=runtime.text_inputs).decode
        self._assembler = Assembler(signature)
        self._encoder = Encoder(spec, signature)

    def run(self, requests: Sequence[DecodedRequest]) -> Answered:
        """Answer requests that may share a batch. Raises DodonaError (ModelFailed with the model's own message)."""
        begin = perf_counter()
        batch = self._assembler.batch(requests)
        start = perf_counter()
        outputs = self.predict(batch)
        end = perf_counter()
        runtime = self._ways.answered_by if self._ways is not None else self._framework
        responses = self._encoder.encode(requests, outputs, runtime)
        rows = sum([request.rows for request in requests])
        return Answered(responses, rows, start - begin, end - start, perf_counter() - end, runtime)

    def predict(self, inputs: Arrays) -> Arrays:
        """Raises DodonaError; whatever else the model raises becomes ModelFailed."""
        try:
            return self._runtime.predict(inputs)
        except DodonaError:
            raise
        except BaseException as error:  # user code may raise anything: sys.exit(), asyncio.CancelledError
            text = f"{type(error).__name__}: {error}"
            raise ModelFailed(
                f"the model raised {text[:_MAX_MESSAGE_CHARS]}", remedy="check the input against what the model expects"
            ) from error

    def check(self, outputs: Arrays, rows: int) -> None:
        """Raises ModelFailed if these are not outputs for `rows` rows as announced."""
        self._encoder.check(outputs, rows)

    def close(self) -> None:
        """Give the runtime's memory back. Called once, when nothing runs."""
        self._runtime.close()
