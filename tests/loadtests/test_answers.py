"""Reading one answer in each of the forms that servers give."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import numpy as np
import pytest

from loadtests.answers import ask
from loadtests.bodies import GRPC_PATH
from loadtests.h2load import Load
from protos import inference_pb2

VALUES = [0.25, 0.75]
RAW = np.array(VALUES, np.float32).tobytes()
HEAD = json.dumps({"outputs": [{"name": "p", "parameters": {"binary_data_size": len(RAW)}}]}).encode()
BODIES = {
    "/v2": json.dumps({"outputs": [{"name": "p", "data": VALUES}]}).encode(),
    "/predictions": json.dumps({"predictions": [VALUES]}).encode(),
    "/bare": json.dumps([VALUES]).encode(),
    "/binary": HEAD + RAW,
    "/strange": b'{"answer": 42}',
}


class Canned(http.server.BaseHTTPRequestHandler):
    """Answers what BODIES has for the path; 503 for any other."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        body = BODIES.get(self.path, b"busy")
        self.send_response(200 if self.path in BODIES else 503)
        if self.path == "/binary":
            self.send_header("inference-header-content-length", str(len(HEAD)))
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Canned) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/v2", "/predictions", "/bare", "/binary"])
def test_every_form_of_rest_answer_is_read(url: str, path: str) -> None:
    """The values are the same, and the size is that of the body."""
    answer = ask(Load(url + path, b"{}", (), 1, http1=True))
    assert answer.values.tolist() == VALUES
    assert answer.size == len(BODIES[path])


def test_an_error_status_is_an_error_with_its_words(url: str) -> None:
    """A server that refuses is not mistaken for one that answers."""
    with pytest.raises(RuntimeError, match="503: b'busy'"):
        ask(Load(url + "/other", b"{}", (), 1, http1=True))


def test_an_answer_of_unknown_form_is_shown(url: str) -> None:
    """Whoever adds a rival sees what it says."""
    with pytest.raises(RuntimeError, match=r'unknown form: .*"answer": 42'):
        ask(Load(url + "/strange", b"{}", (), 1, http1=True))


def test_grpc_answers_are_read_from_raw_and_typed_contents() -> None:
    """The size counts the five bytes in front of the message, as h2load does; an error has its code."""
    raw = inference_pb2.ModelInferResponse(model_name="raw", raw_output_contents=[RAW])
    raw.outputs.add(name="p", datatype="FP32", shape=[1, 2])
    typed = inference_pb2.ModelInferResponse(model_name="typed")
    typed.outputs.add(name="p", datatype="FP32", shape=[1, 2]).contents.fp32_contents.extend(VALUES)
    answers = {response.model_name: response.SerializeToString() for response in (raw, typed)}

    def infer(request: bytes, context: grpc.ServicerContext) -> bytes:
        name = inference_pb2.ModelInferRequest.FromString(request).model_name
        if name not in answers:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "queue full")
        return answers[name]

    with running(infer) as address:
        for name, sent in answers.items():
            answer = ask(load(address, name))
            assert answer.values.tolist() == VALUES
            assert answer.size == len(sent) + 5
        with pytest.raises(RuntimeError, match="RESOURCE_EXHAUSTED: queue full"):
            ask(load(address, "other"))


def load(address: str, name: str) -> Load:
    message = inference_pb2.ModelInferRequest(model_name=name).SerializeToString()
    return Load(f"http://{address}{GRPC_PATH}", b"\0" + len(message).to_bytes(4, "big") + message, (), 1)


@contextmanager
def running(infer: Callable[[bytes, grpc.ServicerContext], bytes]) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(1))
    service, method = GRPC_PATH[1:].split("/")
    handler = grpc.method_handlers_generic_handler(service, {method: grpc.unary_unary_rpc_method_handler(infer)})
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()
