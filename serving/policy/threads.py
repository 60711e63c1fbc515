"""How many threads one run of a framework may use, so that all workers together do not oversubscribe the machine.

Model. A machine has C processors to use and W worker processes, each of which runs one batch of a version at a time.
More runnable threads than processors gain nothing and cost much: they take turns, and a run is as slow as its last
thread. So W runs of t threads should fit: t <= C / W. Even where there is one worker, a run gets a quarter of the
processors at most: routers and the event loops of workers need some, and so do runs of the other versions; most models
that are served one small batch at a time are slower on many threads than on one.

    t = max(1, floor(C / max(4, W)))

Invariants: t * W <= C wherever W <= C; one more worker never means more threads. What it does not do: know which models
are busy. A model that is alone on a machine and worth all of it says so: `options.intra_op_threads`, `options.nthread`,
or `workers.<framework>.threads`.

Frameworks that thread by OpenMP or a BLAS of their own read the environment instead (`environment`). Their idle threads
spin for a while by default, which is right on a machine of one's own; here other processes wait for the processor.
"""

from collections.abc import Mapping
from math import floor
from typing import Final

_LEAST_SHARES: Final = 4
_COUNTS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def threads_of_a_run(cores: float, workers: int = 1) -> int:
    """`cores`: processors to use, as serving.cores counts them; `workers`: worker processes on the machine."""
    return max(1, floor(cores / max(_LEAST_SHARES, workers)))


def environment(threads: int, given: Mapping[str, str]) -> dict[str, str]:
    """Variables to add to a worker's environment; what the user has `given` stands."""
    wanted = {**dict.fromkeys(_COUNTS, str(threads)), "OMP_WAIT_POLICY": "PASSIVE"}
    return {name: value for name, value in wanted.items() if name not in given}
