"""Inference in every form that the REST edge takes, and what it refuses."""

import gzip
import json
from typing import Any

from tests.conformance.rest_http import Models, Session, arrays_for, binary_request, json_inputs


def infer_json(base_url: str, models: Models) -> None:
    """Flat and nested data give the same answer, which names the version."""
    with Session(base_url) as session:
        for model in models:
            metadata = session.get(f"/v2/models/{model}").ok()
            arrays = arrays_for(metadata)
            path = f"/v2/models/{model}/infer"
            flat = session.post(path, {"id": "7", "inputs": json_inputs(metadata, arrays)}).ok()
            nested = session.post(path, {"id": "7", "inputs": json_inputs(metadata, arrays, flat=False)}).ok()
            assert flat == nested
            assert (flat["id"], flat["model_name"]) == ("7", model)
            assert [output["name"] for output in flat["outputs"]] == [output["name"] for output in metadata["outputs"]]
            version = flat["model_version"]
            again = session.post(
                f"/v2/models/{model}/versions/{version}/infer", {"id": "7", "inputs": json_inputs(metadata, arrays)}
            )
            assert again.ok() == flat


def infer_binary(base_url: str, models: Models) -> None:
    """The bytes of the binary reply are those of the JSON reply; compressed or not."""
    with Session(base_url) as session:
        for model in models:
            metadata = session.get(f"/v2/models/{model}").ok()
            arrays = arrays_for(metadata)
            path = f"/v2/models/{model}/infer"
            body, headers = binary_request(metadata, arrays, parameters={"binary_data_output": True})
            plain = session.post(path, body, **headers)
            assert plain.status == 200, plain.body
            size = int(plain.headers["inference-header-content-length"])
            document = json.loads(plain.body[:size])
            total = sum(output["parameters"]["binary_data_size"] for output in document["outputs"])
            assert len(plain.body) == size + total
            packed = session.post(path, gzip.compress(body), content_encoding="gzip", accept_encoding="gzip", **headers)
            content = packed.body
            if packed.headers.get("content-encoding") == "gzip":
                content = gzip.decompress(content)
            assert content == plain.body


def infer_one_output(base_url: str, models: Models) -> None:
    """Only what was asked for comes back, in the form it was asked for."""
    with Session(base_url) as session:
        metadata = session.get(f"/v2/models/{models[0]}").ok()
        wanted = metadata["outputs"][-1]["name"]
        document = {
            "inputs": json_inputs(metadata, arrays_for(metadata)),
            "outputs": [{"name": wanted, "parameters": {"binary_data": True}}],
        }
        reply = session.post(f"/v2/models/{models[0]}/infer", document)
        size = int(reply.headers["inference-header-content-length"])
        assert [output["name"] for output in json.loads(reply.body[:size])["outputs"]] == [wanted]


def predict_rows_and_columns(base_url: str, models: Models) -> None:
    """v1: a prediction a row, and the same values by column."""
    with Session(base_url) as session:
        for model in models:
            arrays = arrays_for(session.get(f"/v2/models/{model}").ok(), rows=3)
            columns = {name: array.tolist() for name, array in arrays.items()}
            instances = [{name: column[row] for name, column in columns.items()} for row in range(3)]
            rows = session.post(f"/v1/models/{model}:predict", {"instances": instances}).ok()["predictions"]
            assert len(rows) == 3
            outputs = session.post(f"/v1/models/{model}:predict", {"inputs": columns}).ok()["outputs"]
            first = {name: values[0] for name, values in outputs.items()} if isinstance(outputs, dict) else outputs[0]
            assert rows[0] == first
            if len(columns) == 1:
                bare = next(iter(columns.values()))
                assert session.post(f"/v1/models/{model}:predict", {"instances": bare}).ok()["predictions"] == rows


def request_ids(base_url: str, models: Models) -> None:
    with Session(base_url) as session:
        assert session.get("/v2", x_request_id="mine-1").headers["x-request-id"] == "mine-1"
        assert session.get("/nowhere", x_request_id="mine-2").headers["x-request-id"] == "mine-2"
        assert session.get("/v2").headers["x-request-id"]


def wrong_requests(base_url: str, models: Models) -> None:
    """Each is refused with the field in the text, all on one connection, which then still serves."""
    with Session(base_url) as session:
        model = models[0]
        path = f"/v2/models/{model}/infer"
        metadata = session.get(f"/v2/models/{model}").ok()
        good = json_inputs(metadata, arrays_for(metadata))
        first: dict[str, Any] = good[0]
        session.post(path, b'{"inputs": [').refused(400, "malformed JSON", "line 1")
        session.post(path, b"").refused(400, "empty")
        session.post(path, b'{"inputs": "\xff"}').refused(400, "UTF-8")
        session.post(path, b"[" * 2000).refused(400, "router.limits.max_json_depth")
        session.post(path, {"inputs": good}, content_type="multipart/form-data").refused(415, "content-type")
        session.post(path, b"{}", content_encoding="br").refused(415, "content-encoding")
        session.post(path, b"{}", content_encoding="gzip").refused(400, "gzip")
        session.post(path, {}).refused(400, "inputs")
        session.post(path, {"inputs": []}).refused(400, first["name"])
        session.post(path, {"inputs": [*good, first]}).refused(400, "twice")
        session.post(path, {"inputs": [*good, first | {"name": "no-such-input"}]}).refused(400, "no-such-input")
        session.post(path, {"inputs": [first | {"datatype": "FP8"}, *good[1:]]}).refused(400, "inputs[0].datatype")
        session.post(path, {"inputs": [first | {"data": []}, *good[1:]]}).refused(400, "inputs[0].data")
        session.post(path, {"inputs": [first | {"shape": [-1]}, *good[1:]]}).refused(400, "inputs[0].shape")
        session.post(path, {"inputs": good, "outputs": [{"name": "no-such-output"}]}).refused(400, "no-such-output")
        session.post(path, {"inputs": good}, x_request_timeout_ms="soon").refused(400, "x-request-timeout-ms")
        session.post(path, b"{}", inference_header_content_length="5").refused(400, "inference-header-content-length")
        shared = [first | {"parameters": {"shared_memory_region": "r"}}, *good[1:]]
        session.post(path, {"inputs": shared}).refused(400, "shared memory")
        body, headers = binary_request(metadata, arrays_for(metadata))
        session.post(path, body + b"more", **headers).refused(400, "4 bytes follow")
        session.post("/v2/models/no-such-model/infer", {"inputs": good}).refused(404, "no-such-model")
        session.post(f"/v2/models/{model}/versions/987654/infer", {"inputs": good}).refused(404, "987654")
        session.post(f"/v1/models/{model}:predict", {"instances": []}).refused(400, "instances")
        session.post(f"/v1/models/{model}:predict", {"instances": [{"no-such-feature": 1}]}).refused(
            400, "instances[0]"
        )
        session.post(path, {"inputs": good}).ok()


def large_bodies(base_url: str, models: Models) -> None:
    """A body, or what a small one grows to, beyond the limit: 413 naming the setting, and the connection serves on."""
    with Session(base_url) as session:
        limit = session.get("/_meta/0/config").ok()["config"]["limits"]["max_message_bytes"]
        path = f"/v2/models/{models[0]}/infer"
        bomb = gzip.compress(bytes(limit + 1))
        session.post(path, bomb, content_encoding="gzip").refused(413, "router.limits.max_message_bytes")
        session.get("/v2").ok()
