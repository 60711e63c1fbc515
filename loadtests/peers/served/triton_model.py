"""Triton's Python backend: what the dynamic batcher has put together runs as one batch."""

import numpy as np
import trees
import triton_python_backend_utils as triton


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        self.predict = trees.load()

    def execute(self, requests: list) -> list:
        inputs = [triton.get_input_tensor_by_name(request, "input").as_numpy() for request in requests]
        answers = self.predict(inputs[0] if len(inputs) == 1 else np.concatenate(inputs))
        responses, first = [], 0
        for rows in inputs:
            tensor = triton.Tensor("probabilities", answers[first : first + len(rows)])
            responses.append(triton.InferenceResponse([tensor]))
            first += len(rows)
        return responses
