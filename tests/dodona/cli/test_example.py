"""The ready-made commands that `dodona up` prints."""

import json
import shlex

from dodona.cli.example import calls_for
from dodona.client import Description
from serving.spec import Signature, TensorSpec


def model(*inputs: TensorSpec, batched: bool = True) -> Description:
    return Description("iris", ("1",), "onnx", Signature(inputs, (), batched))


def test_calls_are_one_row_of_zeros():
    """The shape has one row; -1 becomes one element; texts are empty, truth values false."""
    described = model(
        TensorSpec("x", "FP32", (2, -1)), TensorSpec("name", "BYTES", ()), TensorSpec("flag", "BOOL", (1,))
    )
    models, ours, curl = calls_for(described, "127.0.0.1:8001", "127.0.0.1:8000")
    assert models == "dodona models"
    assert ours == """dodona predict iris --json '{"x":[[[0],[0]]],"name":[""],"flag":[[false]]}'"""
    body = json.loads(curl.partition("-d '")[2].removesuffix("'"))
    assert [tensor["shape"] for tensor in body["inputs"]] == [[1, 2, 1], [1], [1, 1]]
    assert curl.startswith("curl -s http://127.0.0.1:8000/v2/models/iris/infer -d '")


def test_other_ports_are_named():
    """Commands say where the cluster is unless that is where they look anyway."""
    calls = calls_for(model(TensorSpec("x", "FP32", (1,))), "127.0.0.1:9001", "127.0.0.1:9000")
    assert calls[0] == "dodona models --url grpc://127.0.0.1:9001"
    assert "--url grpc://127.0.0.1:9001 --json" in calls[1]


def test_model_without_batches_has_no_row_dimension():
    """Shapes are sent as the model says."""
    calls = calls_for(model(TensorSpec("x", "INT64", (3,)), batched=False), "127.0.0.1:8001", "127.0.0.1:8000")
    assert calls[1].endswith("""--json '{"x":[0,0,0]}'""")


def test_columns_with_names_make_a_record():
    """A newcomer sees what the zeros stand for; an apostrophe in a name ends no quotes."""
    described = model(TensorSpec("x", "FP32", (2,), columns=("age", "driver's points")), TensorSpec("y", "INT64", (1,)))
    assert calls_for(described, "127.0.0.1:8001", "127.0.0.1:8000")[1].endswith("""--json '{"x":[[0,0]],"y":[[0]]}'""")
    named = model(TensorSpec("x", "FP32", (2,), columns=("age", "driver's points")))
    ours, curl = calls_for(named, "127.0.0.1:8001", "127.0.0.1:8000")[1:]
    assert json.loads(shlex.split(ours)[-1]) == {"age": 0, "driver's points": 0}
    assert json.loads(shlex.split(curl)[-1])["inputs"][0]["data"] == [[0, 0]]
