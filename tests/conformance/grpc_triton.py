"""Inputs and results in tritonclient's own types."""

from typing import Any

import tritonclient.grpc as triton

from tests.conformance.grpc_stubs import arrays_for


def inputs_for(metadata: Any, rows: int = 1, module: Any = triton) -> list[Any]:
    """Inputs of the client's own kind."""
    inputs = []
    for tensor, (name, array) in zip(metadata.inputs, arrays_for(metadata, rows).items(), strict=True):
        one = module.InferInput(name, list(array.shape), tensor.datatype)
        one.set_data_from_numpy(array)
        inputs.append(one)
    return inputs


def check_result(result: Any, metadata: Any, rows: int, number: str = "") -> None:
    """Every announced output is there, with its datatype and as many rows as were sent."""
    response = result.get_response()
    assert response.model_name == metadata.name
    assert response.model_version in metadata.versions
    assert response.id == number
    for tensor in metadata.outputs:
        array = result.as_numpy(tensor.name)
        assert array is not None, tensor.name
        assert result.get_output(tensor.name).datatype == tensor.datatype
        if tensor.shape and tensor.shape[0] == -1:
            assert len(array) == rows
