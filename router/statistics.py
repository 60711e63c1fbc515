"""Counts and durations of one version, in the form of the protocol's statistics extension (perf_analyzer reads it)."""

from collections.abc import Sequence
from time import time_ns

from protos import inference_pb2, link_pb2
from router.sharing.metrics import SharingFigures
from serving.spec import ModelSpec

_US = 1000  # nanoseconds


class _Duration:
    __slots__ = ("count", "ns")

    def __init__(self) -> None:
        self.count = 0
        self.ns = 0

    def proto(self) -> inference_pb2.StatisticDuration:
        return inference_pb2.StatisticDuration(count=self.count, ns=self.ns)


class _BatchSize:
    __slots__ = ("count", "infer_us", "input_us", "output_us")

    def __init__(self) -> None:
        self.count = self.input_us = self.infer_us = self.output_us = 0


# Distinct batch sizes reported one by one; larger ones share the last entry.
_MAX_BATCH_SIZES = 1024


class Statistics:
    """Fed with each Results frame and each answer; read by ModelStatistics and by the status page."""

    __slots__ = (
        "_batches",
        "_fail",
        "_infer_ns",
        "_input_ns",
        "_output_ns",
        "_queue_ns",
        "_sharing",
        "_success",
        "execution_count",
        "inference_count",
        "last_inference_ms",
    )

    def __init__(self, sharing: SharingFigures | None = None) -> None:
        self._sharing = sharing or SharingFigures()
        self._success = _Duration()
        self._fail = _Duration()
        self._batches: dict[int, _BatchSize] = {}
        self._queue_ns = self._input_ns = self._infer_ns = self._output_ns = 0
        self.inference_count = 0
        self.execution_count = 0
        self.last_inference_ms = 0

    @property
    def succeeded(self) -> int:
        return self._success.count

    @property
    def failed(self) -> int:
        return self._fail.count

    def batch(self, results: link_pb2.Results) -> None:
        """One run of the runtime. Durations of the batch count for each request in it, as in Triton."""
        requests = len(results.ids) - len(results.failures)
        self._queue_ns += sum(results.queue_us) * _US
        self._input_ns += results.input_us * _US * requests
        self._infer_ns += results.infer_us * _US * requests
        self._output_ns += results.output_us * _US * requests
        if not results.rows:  # no run, or a further part of one that was too large for a frame
            return
        self.execution_count += 1
        self.inference_count += results.rows
        self.last_inference_ms = time_ns() // 1_000_000
        size = self._batches.get(results.rows)
        if size is None:
            rows = results.rows if len(self._batches) < _MAX_BATCH_SIZES else max(self._batches)
            size = self._batches.setdefault(rows, _BatchSize())
        size.count += 1
        size.input_us += results.input_us
        size.infer_us += results.infer_us
        size.output_us += results.output_us

    def answered(self, seconds: float) -> None:
        self._success.count += 1
        self._success.ns += int(seconds * 1e9)

    def refused(self, seconds: float) -> None:
        self._fail.count += 1
        self._fail.ns += int(seconds * 1e9)

    def waited(self, seconds: float) -> None:
        """Time in the router's own queue."""
        self._queue_ns += int(seconds * 1e9)

    # Several processes of one router keep one each; what callers see is their sum.

    def add(self, other: "Statistics") -> None:
        for mine, its in ((self._success, other._success), (self._fail, other._fail)):
            mine.count += its.count
            mine.ns += its.ns
        self._queue_ns += other._queue_ns
        self._input_ns += other._input_ns
        self._infer_ns += other._infer_ns
        self._output_ns += other._output_ns
        self.inference_count += other.inference_count
        self.execution_count += other.execution_count
        self.last_inference_ms = max(self.last_inference_ms, other.last_inference_ms)
        for rows, its_size in other._batches.items():
            size = self._batches.setdefault(rows, _BatchSize())
            size.count += its_size.count
            size.input_us += its_size.input_us
            size.infer_us += its_size.infer_us
            size.output_us += its_size.output_us

    def columns(self) -> list[int]:
        """All of it as numbers, for another process; `of_columns` reads them."""
        numbers = [
            *(self._success.count, self._success.ns, self._fail.count, self._fail.ns),
            *(self._queue_ns, self._input_ns, self._infer_ns, self._output_ns),
            *(self.inference_count, self.execution_count, self.last_inference_ms),
        ]
        for rows, size in self._batches.items():
            numbers += (rows, size.count, size.input_us, size.infer_us, size.output_us)
        return numbers

    @classmethod
    def of_columns(cls, numbers: Sequence[int]) -> "Statistics":
        one = cls()
        one._success.count, one._success.ns, one._fail.count, one._fail.ns = numbers[:4]
        one._queue_ns, one._input_ns, one._infer_ns, one._output_ns = numbers[4:8]
        one.inference_count, one.execution_count, one.last_inference_ms = numbers[8:11]
        for start in range(11, len(numbers), 5):
            size = one._batches.setdefault(numbers[start], _BatchSize())
            size.count, size.input_us, size.infer_us, size.output_us = numbers[start + 1 : start + 5]
        return one

    def model_statistics(self, spec: ModelSpec) -> inference_pb2.ModelStatistics:
        sharing = self._sharing
        done = self._success.count - sharing.hits - sharing.collapsed
        duration = inference_pb2.StatisticDuration
        return inference_pb2.ModelStatistics(
            name=spec.name,
            version=spec.version,
            last_inference=self.last_inference_ms,
            inference_count=self.inference_count,
            execution_count=self.execution_count,
            inference_stats=inference_pb2.InferStatistics(
                success=self._success.proto(),
                fail=self._fail.proto(),
                queue=duration(count=done, ns=self._queue_ns),
                compute_input=duration(count=done, ns=self._input_ns),
                compute_infer=duration(count=done, ns=self._infer_ns),
                compute_output=duration(count=done, ns=self._output_ns),
                cache_hit=duration(count=sharing.hits, ns=int(sharing.hit_s * 1e9)),
                cache_miss=duration(count=sharing.misses, ns=int(sharing.miss_s * 1e9)),
            ),
            batch_stats=[
                inference_pb2.InferBatchStatistics(
                    batch_size=rows,
                    compute_input=duration(count=size.count, ns=size.input_us * _US),
                    compute_infer=duration(count=size.count, ns=size.infer_us * _US),
                    compute_output=duration(count=size.count, ns=size.output_us * _US),
                )
                for rows, size in sorted(self._batches.items())
            ],
        )
