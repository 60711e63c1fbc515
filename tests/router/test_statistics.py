"""The protocol's statistics."""

from protos import link_pb2
from router.statistics import Statistics
from serving.spec import ModelSpec

SPEC = ModelSpec("m", "1")


def used(times: int, rows: int) -> Statistics:
    statistics = Statistics()
    for _ in range(times):
        statistics.batch(link_pb2.Results(ids=[1, 2], queue_us=[5, 6], rows=rows, input_us=3, infer_us=10, output_us=4))
        statistics.answered(0.001)
        statistics.waited(0.002)
    statistics.refused(0.5)
    return statistics


def test_statistics_of_processes_add_up():
    """Counts, durations and batch sizes of the sum are those of one that saw everything; it travels unchanged."""
    everything = used(2, rows=4)
    everything.add(used(3, rows=8))
    travelled = Statistics.of_columns(everything.columns()).model_statistics(SPEC)
    assert travelled == everything.model_statistics(SPEC)
    assert [(size.batch_size, size.compute_infer.count) for size in travelled.batch_stats] == [(4, 2), (8, 3)]
    assert travelled.inference_count == 2 * 4 + 3 * 8
    assert (travelled.inference_stats.success.count, travelled.inference_stats.fail.count) == (5, 2)
    assert travelled.inference_stats.compute_infer.ns == 5 * 2 * 10_000
    assert travelled.inference_stats.queue.ns == 5 * (11_000 + 2_000_000)
