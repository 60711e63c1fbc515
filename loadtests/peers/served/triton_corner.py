"""Triton's Python backend with `corner.py`. It sets FORCE_CPU_ONLY_INPUT_TENSORS by default, so inputs are arrays."""

import corner
import triton_python_backend_utils as triton


class TritonPythonModel:
    def execute(self, requests: list) -> list:
        return [
            triton.InferenceResponse(
                [triton.Tensor("corner", corner.corner(triton.get_input_tensor_by_name(request, "image").as_numpy()))]
            )
            for request in requests
        ]
