"""What compiled trees gain: `python -m loadtests.trees [--rounds 3] [--seconds 2] [--runs-only]`.

First the bare runs: microseconds of one run by its rows, XGBoost against ONNX Runtime, for small and large models, and
what the version would choose. Then a whole worker as in `worker_bench`, `compile: off` against `compile: auto` in turn
at 1, 8 and 32 requests in flight: its CPU per request, and what loading took. Medians of the rounds; nothing is
written, and it stops by itself after about `rounds * 6 * (seconds + 3)` seconds.
"""

import argparse
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import uvloop

from loadtests.worker_bench import bench
from serving.policy.fastest import ranges_text, switches
from serving.runtimes.compiled.rows import generated_rows
from serving.runtimes.compiled.session import CompiledTrees
from serving.runtimes.compiled.timing import measure
from serving.runtimes.compiled.xgboost_trees import ensemble_of
from serving.runtimes.xgboost_dense import DensePredictor

# Name, objective, features, trees (rounds), depth.
MODELS = (
    ("100 trees, depth 4", "binary:logistic", 30, 100, 4),
    ("500 trees, depth 6", "binary:logistic", 30, 500, 6),
    ("2000 trees, depth 8", "reg:squarederror", 100, 2000, 8),
    ("10 classes x 100 trees, depth 4", "multi:softprob", 64, 100, 4),
)
SIZES = (1, 8, 32, 128, 256, 512)


def runs() -> None:
    """One line a model: native/compiled microseconds at each size."""
    import xgboost

    print("\nus a run, XGBoost / ONNX Runtime, one thread, the smallest of at least 8 x 3")
    print(f"{'model':32}" + "".join(f"{size:>15}" for size in SIZES) + "  compile ms  choice")
    for title, objective, features, rounds, depth in MODELS:
        random = np.random.default_rng(0)
        rows = random.normal(size=(4000, features)).astype(np.float32)
        target = rows[:, 0] + rows[:, 1] * rows[:, 2] + random.normal(size=4000)
        settings = {"objective": objective, "max_depth": depth, "nthread": 1}
        if objective.startswith("multi:"):
            settings["num_class"], target = 10, np.digitize(target, np.linspace(-2, 2, 9))
        elif objective.startswith("binary:"):
            target = target > 0
        booster = xgboost.train(settings, xgboost.DMatrix(rows, target), rounds)
        begin = perf_counter()
        ensemble = ensemble_of(booster.save_raw("ubj"), (0, 0))
        compiled, native = CompiledTrees(ensemble, threads=1), DensePredictor(booster, (0, 0))
        compile_s = perf_counter() - begin
        inside = generated_rows(ensemble, 384, random)[:128]
        found = measure(native, compiled, inside, 512, budget_s=10.0, clock=perf_counter)
        by_rows = {timing.rows: timing for timing in found}
        cells = [f"{by_rows[size].native_s * 1e6:.0f} / {by_rows[size].compiled_s * 1e6:.0f}" for size in SIZES]
        choice = ranges_text(switches(found), "xgboost", "onnxruntime")
        print(f"{title:32}" + "".join(f"{cell:>15}" for cell in cells) + f"{compile_s * 1e3:>12.0f}  {choice}")


def workers(rounds: int, seconds: float) -> None:
    """CPU microseconds a request of the whole worker, off against auto."""
    found: dict[tuple[str, int], list[dict[str, object]]] = {}
    for _ in range(rounds):
        for in_flight in (1, 8, 32):
            for mode in ("off", "auto"):
                options = argparse.Namespace(
                    framework="xgboost", compile=mode, in_flight=in_flight, seconds=seconds, profile=""
                )
                with tempfile.TemporaryDirectory() as folder:
                    result = uvloop.run(bench(options, Path(folder)))
                if result["failed"]:
                    raise SystemExit(f"{result['failed']} requests failed: {result['first_failure']}")
                found.setdefault((mode, in_flight), []).append(result)
    figures = ("worker_cpu_us_per_request", "requests_per_s", "load_s", "worker_start_cpu_s", "worker_pss_mib")
    print(f"\n{'worker, 100 trees, depth 4':28}" + "".join(f"{name:>28}" for name in figures))
    for (mode, in_flight), results in sorted(found.items(), key=lambda entry: (entry[0][1], entry[0][0] == "auto")):
        cells = []
        for name in figures:
            values = [float(str(result[name])) for result in results]
            cells.append(f"{median(values):g} ({min(values):g}-{max(values):g})")
        print(f"{f'{in_flight} in flight, {mode}':28}" + "".join(f"{cell:>28}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--runs-only", action="store_true")
    options = parser.parse_args()
    runs()
    if not options.runs_only:
        workers(options.rounds, options.seconds)


if __name__ == "__main__":
    main()
