"""The demo's questions to the cluster: over gRPC with `dodona.Client`, over REST with the standard library alone."""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import chain
from typing import Any

import numpy as np

from dodona import Client
from examples.train import Outputs, Trained, accuracy

TIMED_CALLS = 20
ROWS_AT_A_TIME = 50
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Asked:
    """What one protocol answered for one model: a first row in full, and all held-out rows."""

    trained: Trained
    version: str
    protocol: str
    answer: str
    latency_s: float
    """Median of single-row calls, as the caller sees them."""
    answers: tuple[str, ...]

    @property
    def accuracy(self) -> float:
        return accuracy(self.answers, self.trained.truth)

    def faults(self) -> list[str]:
        """What is wrong, in words; empty if all is as it should be."""
        where = f"{self.trained.name} over {self.protocol}"
        found = []
        differing = [row for row, said in enumerate(self.trained.said) if self.answers[row] != said]
        if differing:
            row = differing[0]
            found.append(
                f"{where}: {len(differing)} of {len(self.answers)} answers differ from the model in memory, first in"
                f" row {row}: expected {self.trained.said[row]}, got {self.answers[row]}"
            )
        if self.answer != self.answers[0]:
            found.append(f"{where}: row 0 alone is answered {self.answer}, among others {self.answers[0]}")
        if self.accuracy < self.trained.least_accuracy:
            found.append(f"{where}: accuracy {self.accuracy:.1%} is below {self.trained.least_accuracy:.0%}")
        return found


def record(trained: Trained, row: int) -> dict[str, float]:
    return dict(zip(trained.columns, trained.rows[row].tolist(), strict=True))


def over_grpc(client: Client, trained: Trained) -> Asked:
    """A record for the single row, arrays of many rows, several in flight, for all of them. Raises DodonaError."""
    first = record(trained, 0)
    single = client.predict(trained.name, first)
    latency_s = _median_s(lambda: client.predict(trained.name, first))
    parts = [trained.rows[start : start + ROWS_AT_A_TIME] for start in range(0, len(trained.rows), ROWS_AT_A_TIME)]
    everything = [trained.answers(part.outputs) for part in client.predict_many(trained.name, parts)]
    return Asked(
        trained,
        single.version,
        "gRPC",
        trained.answers(single.outputs)[0],
        latency_s,
        tuple(chain.from_iterable(everything)),
    )


def over_rest(address: str, trained: Trained, version: str, outputs: tuple[str, ...]) -> Asked:
    """Records both times, `POST /v1/models/NAME:predict`. `outputs`: names of the model's outputs. Raises OSError,
    RuntimeError with the server's text."""
    connection = HTTPConnection(address, timeout=TIMEOUT_S)

    def ask(records: list[dict[str, float]]) -> list[str]:
        body = json.dumps({"instances": records})
        connection.request("POST", f"/v1/models/{trained.name}:predict", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        if response.status != 200:
            raise RuntimeError(f"HTTP {response.status}: {text.decode(errors='replace')}")
        return trained.answers(_by_output(json.loads(text)["predictions"], outputs))

    try:
        first = record(trained, 0)
        answer = ask([first])[0]
        latency_s = _median_s(lambda: ask([first]))
        records = [record(trained, row) for row in range(len(trained.rows))]
        parts = [records[start : start + ROWS_AT_A_TIME] for start in range(0, len(records), ROWS_AT_A_TIME)]
        everything = [ask(part) for part in parts]
    finally:
        connection.close()
    return Asked(trained, version, "REST", answer, latency_s, tuple(chain.from_iterable(everything)))


def _by_output(predictions: list[Any], outputs: tuple[str, ...]) -> Outputs:
    """A row is the only output's value, or a record of all outputs."""
    rows = [row if isinstance(row, dict) else {outputs[0]: row} for row in predictions]
    return {name: _array([row[name] for row in rows]) for name in outputs}


def _array(values: list[Any]) -> Any:
    array = np.array(values)
    return np.char.encode(array, "utf-8") if array.dtype.kind == "U" else array


def _median_s(call: Callable[[], object]) -> float:
    times = []
    for _ in range(TIMED_CALLS):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)
