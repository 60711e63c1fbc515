"""What too many threads cost: `python -m loadtests.threads [--rounds 3] [--seconds 2]`.

So many processes as there are cores, each as busy as a worker can be, run batches of 256 rows through the same 500
trees, in XGBoost (OpenMP) and in ONNX Runtime. Three settings in turn: threads for the machine in every process with
idle ones spinning, as the frameworks have it by default; the same without spinning; and threads shared out, as Dodona
does (serving/policy/threads.py). Rows a second of all processes, and CPU a row: medians of the rounds, with ranges.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from loadtests.figures import spread
from serving.cores import usable_cores
from serving.policy.threads import environment, threads_of_a_run

ROWS = 256
LEAST_CORES = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--run", nargs=4, metavar=("FRAMEWORK", "MODEL", "THREADS", "SPIN"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.run:
        framework, model, threads, spin = asked.run
        busy(framework, model, int(threads), spin == "1", asked.seconds)
        return
    cores = max(LEAST_CORES, int(usable_cores()))
    shared = threads_of_a_run(cores, cores)
    settings = [("threads for the machine, spinning", cores, 1), ("the same, not spinning", cores, 0)]
    settings.append(("shared out, not spinning", shared, 0))
    print(f"{cores} processes on {cores} cores, load average {os.getloadavg()[0]:.1f}\n")
    print("| framework | setting | threads of each | rows/s | CPU µs a row |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model.ubj")
        _train(model)
        for framework in ("xgboost", "onnx"):
            found: dict[str, list[tuple[float, float]]] = {}
            for _ in range(asked.rounds):
                for name, threads, spin in settings:
                    measured = together(framework, model, threads, spin, asked.seconds, cores)
                    found.setdefault(name, []).append(measured)
            for name, threads, _ in settings:
                rates, costs = zip(*found[name], strict=True)
                figures = f"{spread(rates).words(',.0f')} | {spread(costs).words('.1f')}"
                print(f"| {framework} | {name} | {threads} | {figures} |")


def together(framework: str, model: Path, threads: int, spin: int, seconds: float, count: int) -> tuple[float, float]:
    """Rows a second of all processes together, and CPU us a row."""
    command = [sys.executable, "-m", "loadtests.threads", "--seconds", str(seconds)]
    command += ["--run", framework, str(model), str(threads), str(spin)]
    variables = {**os.environ, "OMP_NUM_THREADS": str(threads)} if spin else {**os.environ, **environment(threads, {})}
    started = [subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    outcomes = [json.loads(process.communicate(timeout=seconds + 120)[0]) for process in started]
    rows = sum(outcome["rows"] for outcome in outcomes)
    return sum(one["rows"] / one["seconds"] for one in outcomes), sum(one["cpu_s"] for one in outcomes) / rows * 1e6


def busy(framework: str, model: str, threads: int, spin: bool, seconds: float) -> None:
    """One process: batch after batch."""
    import xgboost

    booster = xgboost.Booster({"nthread": threads}, model_file=model)
    rows = np.random.default_rng(0).normal(size=(ROWS, 30)).astype(np.float32)
    if framework == "xgboost":

        def run() -> None:
            booster.inplace_predict(rows, validate_features=False)
    else:
        session = _session(booster, threads, spin)

        def run() -> None:
            session.run(None, {session.get_inputs()[0].name: rows})

    for _ in range(5):
        run()
    count, began, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() < began + seconds:
        run()
        count += ROWS
    took, spent = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({"rows": count, "seconds": took, "cpu_s": spent}))


def _session(booster, threads: int, spin: bool):  # type: ignore[no-untyped-def]
    """The same trees, with the options that serving/runtimes sets."""
    import onnxruntime

    from serving.runtimes.compiled.onnx_trees import onnx_model
    from serving.runtimes.compiled.xgboost_trees import ensemble_of

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
    return onnxruntime.InferenceSession(
        onnx_model(ensemble_of(booster.save_raw("ubj"), (0, 0))), options, providers=["CPUExecutionProvider"]
    )


def _train(path: Path) -> None:
    import xgboost

    random = np.random.default_rng(0)
    rows = random.normal(size=(4000, 30)).astype(np.float32)
    target = rows[:, 0] + rows[:, 1] * rows[:, 2] + random.normal(size=4000) > 0
    settings = {"objective": "binary:logistic", "max_depth": 6, "nthread": 1}
    xgboost.train(settings, xgboost.DMatrix(rows, target), num_boost_round=500).save_model(path)


if __name__ == "__main__":
    main()
