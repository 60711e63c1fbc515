"""A Ray Serve deployment with its batching, written as its documentation shows; one replica."""

import sys
import time

import numpy as np
import ray
import trees
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=1, max_ongoing_requests=128)
class Trees:
    def __init__(self) -> None:
        self.rows_to_answers = trees.load()

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.001)
    async def batched(self, rows: list[list[float]]) -> list[list[float]]:
        return self.rows_to_answers(np.asarray(rows, np.float32)).tolist()

    async def __call__(self, request: Request) -> dict:
        instances = (await request.json())["instances"]
        return {"predictions": [await self.batched(row) for row in instances]}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=sys.argv[2])
    serve.start(
        http_options={"host": "127.0.0.1", "port": int(sys.argv[1])}, logging_config={"enable_access_log": False}
    )
    serve.run(Trees.bind(), route_prefix="/predict")
    while True:
        time.sleep(1)
