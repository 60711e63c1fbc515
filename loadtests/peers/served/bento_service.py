"""A BentoML service with its adaptive batching, written as its documentation shows."""

import bentoml
import numpy as np
import trees


@bentoml.service(workers=1, traffic={"timeout": 30})
class Trees:
    def __init__(self) -> None:
        self.rows_to_answers = trees.load()

    @bentoml.api(batchable=True, max_batch_size=128, max_latency_ms=1000)
    def predict(self, instances: np.ndarray) -> np.ndarray:
        return self.rows_to_answers(np.asarray(instances, np.float32))
