"""Locust users that call a running cluster over REST and gRPC, in a mix and with pauses as real callers have them.

    dodona up &
    locust -f loadtests/locustfile.py --headless -u 20 -r 10 -t 30s --host http://127.0.0.1:8000

`DODONA_URL` is the gRPC address, `DODONA_MODEL` the model (breast-cancer); it needs one batched input of numbers.
Locust is a Python program: it shows behaviour under load and mixes of callers. For speed use `loadtests.bench`.
"""

import os
import random
import time
from typing import Any

import grpc.experimental.gevent
import numpy as np
from locust import HttpUser, User, between, task

from dodona import Client, DodonaError
from dodona.client.description import Description

# Before the first channel: C-core's threads must yield to locust's greenlets.
grpc.experimental.gevent.init_gevent()

MODEL = os.environ.get("DODONA_MODEL", "breast-cancer")
PAUSE_S = between(0.001, 0.05)


def rows(count: int, model: Description) -> Any:
    """Random rows of the model's shape; what they mean does not matter to the load."""
    tensor = model.inputs[0]
    shape = [count, *(extent if extent >= 0 else 1 for extent in tensor.shape)]
    return (np.random.default_rng().random(shape) * 100).astype(tensor.dtype)


class RestCaller(HttpUser):
    """POST /v2/models/NAME/infer with JSON, one row at a time."""

    wait_time = PAUSE_S

    def on_start(self) -> None:
        with Client() as client:
            self.model = client.metadata(MODEL)

    @task
    def predict(self) -> None:
        tensor = self.model.inputs[0]
        row = rows(1, self.model)
        body = {
            "inputs": [
                {
                    "name": tensor.name,
                    "datatype": tensor.datatype,
                    "shape": list(row.shape),
                    "data": row.ravel().tolist(),
                }
            ]
        }
        self.client.post(f"/v2/models/{MODEL}/infer", json=body, name="REST infer")


class GrpcCaller(User):
    """`dodona.Client`, mostly single rows, now and then a batch."""

    wait_time = PAUSE_S

    def on_start(self) -> None:
        self.caller = Client()
        self.model = self.caller.metadata(MODEL)

    def on_stop(self) -> None:
        self.caller.close()

    @task(9)
    def single(self) -> None:
        self._predict("gRPC 1 row", 1)

    @task(1)
    def batch(self) -> None:
        self._predict("gRPC batch", random.randint(2, 64))

    def _predict(self, name: str, count: int) -> None:
        started = time.perf_counter()
        error: DodonaError | None = None
        size = 0
        try:
            size = sum(array.nbytes for array in self.caller.predict(MODEL, rows(count, self.model)).outputs.values())
        except DodonaError as failed:
            error = failed
        self.environment.events.request.fire(
            request_type="gRPC",
            name=name,
            response_time=(time.perf_counter() - started) * 1000,
            response_length=size,
            exception=error,
            context={},
        )
