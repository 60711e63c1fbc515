"""How many threads a run may use."""

import pytest

from serving.policy.threads import environment, threads_of_a_run


@pytest.mark.parametrize(
    ("cores", "workers", "expected"),
    [(0.5, 1, 1), (1, 1, 1), (2, 1, 1), (16, 1, 4), (16, 4, 4), (16, 5, 3), (16, 16, 1), (16, 99, 1), (7.5, 1, 1)],
)
def test_runs_leave_room(cores, workers, expected):
    """A quarter of the processors, or what is left for each of many workers; never none."""
    assert threads_of_a_run(cores, workers) == expected


def test_all_workers_together_fit():
    """Wherever there are as many processors as workers; and one more worker never means more threads."""
    for cores in range(1, 200):
        threads = [threads_of_a_run(cores, workers) for workers in range(1, 250)]
        assert threads == sorted(threads, reverse=True)
        assert all(count * workers <= cores for workers, count in enumerate(threads, 1) if workers <= cores)


def test_frameworks_with_threads_of_their_own_are_told_by_the_environment():
    """OpenMP and the BLAS libraries read it; what the user has set stands."""
    added = environment(3, {"OMP_NUM_THREADS": "7"})
    assert "OMP_NUM_THREADS" not in added
    assert added["OPENBLAS_NUM_THREADS"] == added["MKL_NUM_THREADS"] == "3"
    assert added["OMP_WAIT_POLICY"] == "PASSIVE"
