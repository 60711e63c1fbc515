from prometheus_client import generate_latest

from serving.errors import Cancelled, DeadlineExceeded, ModelFailed
from serving.spec import ModelSpec
from serving.worker.job import Job, Outcome
from serving.worker.metrics import WorkerMetrics
from serving.worker.request import DecodedRequest
from tests.serving.worker.fakes import FakeSink


def job(number: int, *, started: float = 0.0) -> Job:
    request = DecodedRequest(rows=2, parts=(), shapes=None, id_field=b"", outputs=None)
    made = Job(number=number, handle=1, request=request, sink=FakeSink(), seq=number, deadline=9, arrived=0.0)
    made.started = started
    return made


def page(metrics: WorkerMetrics) -> str:
    return generate_latest(metrics.all.registry()).decode()


def test_a_batch_is_recorded_once() -> None:
    """Answers are counted by outcome, each histogram gets one observation a batch."""
    metrics = WorkerMetrics()
    version = metrics.of(ModelSpec("m", "1"))
    jobs = [job(1, started=0.5), job(2, started=0.25), job(3)]
    answers = [b"answer", ModelFailed("no"), Cancelled("gone")]
    version.record(Outcome(1, jobs, answers, rows=6, input_s=0.001, infer_s=0.002, output_s=0.003))
    text = page(metrics)
    labels = 'model="m",version="1"'
    for line in (
        'dodona_worker_requests_total{model="m",status="OK",version="1"} 1.0',
        'dodona_worker_requests_total{model="m",status="INTERNAL",version="1"} 1.0',
        'dodona_worker_requests_total{model="m",status="CANCELLED",version="1"} 1.0',
        f"dodona_cancelled_total{{{labels}}} 1.0",
        f"dodona_batch_rows_sum{{{labels}}} 6.0",
        f"dodona_batch_rows_count{{{labels}}} 1.0",
        f"dodona_decode_seconds_sum{{{labels}}} 0.001",
        f"dodona_queue_seconds_sum{{{labels}}} 0.5",
        f"dodona_infer_seconds_sum{{{labels}}} 0.002",
        f"dodona_encode_seconds_sum{{{labels}}} 0.003",
    ):
        assert line in text


def test_batches_are_counted_by_who_ran_them() -> None:
    """And the state of a version's compiled form is a gauge, which goes with the version."""
    metrics = WorkerMetrics()
    version = metrics.of(ModelSpec("m", "1"))
    version.compiled("differs")
    for runtime in ("xgboost", "onnxruntime", "xgboost"):
        version.record(Outcome(1, [job(1)], [b"answer"], rows=1, runtime=runtime))
    text = page(metrics)
    assert 'dodona_runs_total{model="m",runtime="xgboost",version="1"} 2.0' in text
    assert 'dodona_runs_total{model="m",runtime="onnxruntime",version="1"} 1.0' in text
    assert 'dodona_compiled{model="m",state="differs",version="1"} 1.0' in text
    version.forget()
    assert "dodona_compiled{" not in page(metrics)


def test_what_was_not_run_is_no_batch() -> None:
    """Expired requests are counted, without a run."""
    metrics = WorkerMetrics()
    metrics.of(ModelSpec("m", "1")).record(Outcome(1, [job(1)], [DeadlineExceeded("late")]))
    text = page(metrics)
    assert 'dodona_expired_total{model="m",version="1"} 1.0' in text
    assert 'dodona_batch_rows_count{model="m",version="1"} 0.0' in text


def test_gauges_of_an_unloaded_version_go() -> None:
    """What is no longer there is neither ready nor in flight; what it did stays counted."""
    metrics = WorkerMetrics()
    version = metrics.of(ModelSpec("m", "1"))
    version.in_flight_from(lambda: 3)
    version.ready.set(1)
    version.count(0)
    assert 'dodona_worker_in_flight{model="m",version="1"} 3.0' in page(metrics)
    version.forget()
    text = page(metrics)
    assert "dodona_worker_in_flight{" not in text
    assert "dodona_model_ready{" not in text
    assert 'dodona_worker_requests_total{model="m",status="OK",version="1"} 1.0' in text
