"""Where hardly any request comes again, and runs are cheap, requests pass by the look-up (router.policy.attention)."""

import pytest

from protos import inference_pb2
from router.policy.attention import SAMPLE, WINDOW
from router.sharing.flights import HIT
from serving.errors import InvalidRequest
from tests.router.cluster import Cluster, Worker, request
from tests.router.test_sharing import asking, origin, serving, with_parameter


def asked_and_answered(cluster: Cluster, worker: Worker, message: bytes, infer_us: int = 7) -> str:
    """Where its answer came from, `run` if from a run that others might have joined; what runs is answered."""
    caller = cluster.call(message)
    where = origin(caller) or "run"
    if worker.work:
        worker.answer(*worker.work, infer_us=infer_us)
    return where


def numbered(number: int) -> bytes:
    message = inference_pb2.ModelInferRequest.FromString(request())
    message.raw_input_contents[0] = number.to_bytes(8)
    return message.SerializeToString()


def test_looking_up_rests_where_nothing_comes_again() -> None:
    """After a window of unique inputs to a cheap model requests pass by, as if sharing were off; who
    declines wrongly is told so as ever; equal inputs bring full service back."""
    cluster, worker = serving()
    figures = cluster.core.catalogue.pool("m").sharing_figures
    ways = [asked_and_answered(cluster, worker, numbered(number)) for number in range(2 * WINDOW)]
    assert ways == ["run"] * WINDOW + ["alone"] * (WINDOW - SAMPLE) + ["run"] * SAMPLE
    assert (figures.passed_by, figures.misses) == (WINDOW - SAMPLE, WINDOW + SAMPLE)
    exported = [sample for metric in cluster.core.metrics.metrics.collect() for sample in metric.samples]
    assert [one.value for one in exported if one.name == "dodona_cache_passed_by_total"] == [WINDOW - SAMPLE]
    assert asked_and_answered(cluster, worker, numbered(0)) == "alone"
    with pytest.raises(InvalidRequest, match="cache"):
        cluster.call(with_parameter(asking(1), "cache", string_param="no"))
    ways = [asked_and_answered(cluster, worker, numbered(0)) for _ in range(2 * WINDOW)]
    assert ways == ["alone"] * (WINDOW - SAMPLE - 1) + [HIT] * (WINDOW + SAMPLE + 1)


def test_dear_runs_are_always_shared() -> None:
    """A millisecond a run: every request is looked up, however many came before that never came again."""
    cluster, worker = serving()
    ways = {asked_and_answered(cluster, worker, numbered(number), infer_us=1000) for number in range(2 * WINDOW)}
    assert ways == {"run"}
