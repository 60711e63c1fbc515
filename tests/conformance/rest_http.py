"""A plain HTTP caller on the standard library, and requests that fit any model by its metadata."""

import json
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from serving.spec import NUMPY_DTYPES
from serving.tensors import Array, to_raw

Models = Sequence[str]

TIMEOUT_S = 30.0


class Reply:
    def __init__(self, response: HTTPResponse, body: bytes) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def ok(self) -> Any:
        """The JSON body of a reply that must be 200."""
        assert self.status == 200, f"{self.status}: {self.body[:300]!r}"
        return self.json

    def refused(self, status: int, *words: str) -> str:
        """The error text of a reply that must have this status, and these words in its text."""
        assert self.status == status, f"{self.status}: {self.body[:300]!r}"
        text = str(self.json["error"])
        assert all(word in text for word in words), text
        return text


class Session:
    """One kept connection."""

    def __init__(self, base_url: str) -> None:
        self._connection = HTTPConnection(urlsplit(base_url).netloc, timeout=TIMEOUT_S)

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def get(self, path: str, **headers: str) -> Reply:
        return self.send("GET", path, None, **headers)

    def post(self, path: str, body: object = None, **headers: str) -> Reply:
        """Bytes are sent as they are, anything else as JSON."""
        payload = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return self.send("POST", path, payload, **headers)

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, body, fields)
        response = self._connection.getresponse()
        return Reply(response, response.read())


def arrays_for(metadata: Mapping[str, Any], rows: int = 2) -> dict[str, Array]:
    """An array for each input of a model: `rows` where the first extent is open, 1 where another one is."""
    arrays = {}
    for entry in metadata["inputs"]:
        extents = entry["shape"]
        shape = [rows if extent < 0 and axis == 0 else abs(extent) for axis, extent in enumerate(extents)]
        if entry["datatype"] == "BYTES":
            arrays[entry["name"]] = np.full(shape, "text", object)
        else:
            arrays[entry["name"]] = np.ones(shape, NUMPY_DTYPES[entry["datatype"]])
    return arrays


def json_inputs(metadata: Mapping[str, Any], arrays: Mapping[str, Array], flat: bool = True) -> list[dict[str, Any]]:
    return [
        {
            "name": entry["name"],
            "datatype": entry["datatype"],
            "shape": list(arrays[entry["name"]].shape),
            "data": (arrays[entry["name"]].ravel() if flat else arrays[entry["name"]]).tolist(),
        }
        for entry in metadata["inputs"]
    ]


def binary_request(
    metadata: Mapping[str, Any], arrays: Mapping[str, Array], **document: Any
) -> tuple[bytes, dict[str, str]]:
    """Body and headers with all inputs as binary."""
    raws = [to_raw(arrays[entry["name"]]) for entry in metadata["inputs"]]
    inputs = [
        {
            "name": entry["name"],
            "datatype": entry["datatype"],
            "shape": list(arrays[entry["name"]].shape),
            "parameters": {"binary_data_size": len(raw)},
        }
        for entry, raw in zip(metadata["inputs"], raws, strict=True)
    ]
    text = json.dumps({"inputs": inputs} | document).encode()
    return text + b"".join(raws), {"inference_header_content_length": str(len(text))}
