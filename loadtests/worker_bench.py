"""What one request costs a worker: a real worker process behind a router end in this process, over a unix socket.

    python loadtests/worker_bench.py [--framework xgboost|onnx|echo] [--compile auto|off|force] [--in-flight 32]
                                     [--seconds 3] [--profile FILE]

The router end keeps `--in-flight` one-row requests (30 FP32 features) at the worker, packed into one Work frame per
event-loop turn as a router does, and checks that every answer is one. Printed are requests per second and the worker's
own CPU microseconds per request. Bounded: it stops by itself after `--seconds`.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import uvloop

from protos import inference_pb2, link_pb2
from serving.bundle.definition import TensorDefinition
from serving.bundle.pack import pack
from serving.link.framing import FrameReader, cut, encode

FEATURES = 30


class RouterEnd(asyncio.Protocol):
    """Welcomes the worker, waits for its model, then keeps so many requests in flight."""

    def __init__(self, in_flight: int, message: bytes) -> None:
        self.ready = asyncio.get_running_loop().create_future()
        self.answered = 0
        self.failed: list[str] = []
        self.batches = 0
        self.queue_s = self.input_s = self.infer_s = self.output_s = 0.0
        self._in_flight = in_flight
        self._message = message
        self._reader = FrameReader()
        self._due = 0
        self._next_id = 0
        self._handle = 0
        self.load_s = 0.0
        self._scheduled = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, received: bytes) -> None:
        for envelope, payload in self._reader.feed(received):
            kind = envelope.WhichOneof("frame")
            if kind == "hello":
                self._send(link_pb2.Envelope(welcome=link_pb2.Welcome(protocol_version=1, max_frame_bytes=2**28)))
            elif kind == "models" and envelope.models.models:
                self._handle = envelope.models.models[0].handle
                self.load_s = envelope.models.models[0].load_s
                if not self.ready.done():
                    self.ready.set_result(None)
            elif kind == "results":
                self._results(envelope.results, payload)

    def _results(self, results: link_pb2.Results, payload: memoryview) -> None:
        parts = cut(payload, results.sizes)
        self.failed += [failure.message for failure in results.failures]
        self.answered += len(parts)
        self.batches += 1
        self.input_s += results.input_us / 1e6
        self.infer_s += results.infer_us / 1e6
        self.output_s += results.output_us / 1e6
        self._due += len(parts)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._refill)

    def start(self) -> None:
        self._due = self._in_flight
        self._refill()

    def stop(self) -> None:
        self._in_flight = 0

    def _refill(self) -> None:
        self._scheduled = False
        count, self._due = self._due, 0
        if not self._in_flight or not count:
            return
        ids = range(self._next_id, self._next_id + count)
        self._next_id += count
        work = link_pb2.Work(
            ids=ids,
            handles=[self._handle] * count,
            rows=[1] * count,
            sizes=[len(self._message)] * count,
            timeout_us=[30_000_000] * count,
            priorities=[0] * count,
            request_ids=[str(number) for number in ids],
        )
        self._send(link_pb2.Envelope(work=work), [self._message] * count)

    def _send(self, envelope: link_pb2.Envelope, payloads: list[bytes] | tuple[()] = ()) -> None:
        self._transport.writelines(encode(envelope, payloads))


def publish(framework: str, repository: Path, compiling: str = "auto") -> str:
    """Pack a model of 30 features; returns the name of its input. `compiling` is the xgboost runtime's `compile`."""
    rows = np.random.default_rng(0).normal(size=(64, FEATURES)).astype(np.float32)
    if framework == "echo":
        tensor = TensorDefinition(name="input", datatype="FP32", shape=(FEATURES,))
        pack(None, name="bench", repository=repository, framework="echo", inputs=[tensor])
        return "input"
    from sklearn.datasets import load_breast_cancer

    features, labels = load_breast_cancer(return_X_y=True)
    if framework == "xgboost":
        import xgboost

        model = xgboost.train({"objective": "binary:logistic", "max_depth": 4}, xgboost.DMatrix(features, labels), 100)
        pack(model, name="bench", repository=repository, golden_inputs=rows, options={"compile": compiling})
        return "input"
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, labels)
    converted = to_onnx(classifier, rows[:1], options={"zipmap": False})
    pack(converted, name="bench", repository=repository, golden_inputs=rows)
    return str(converted.graph.input[0].name)


def request_for(name: str) -> bytes:
    request = inference_pb2.ModelInferRequest(model_name="bench")
    request.inputs.add(name=name, datatype="FP32", shape=[1, FEATURES])
    request.raw_input_contents.append(np.linspace(0, 1, FEATURES, dtype=np.float32).tobytes())
    return request.SerializeToString()


async def bench(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    message = request_for(publish(options.framework, folder / "models", options.compile))
    socket = str(folder / "link.sock")
    router = RouterEnd(options.in_flight, message)
    server = await asyncio.get_running_loop().create_unix_server(lambda: router, socket)
    settings = folder / "settings.json"
    settings.write_text(
        json.dumps(
            {
                "name": "bench",
                "framework": options.framework,
                "routers": [f"unix:{socket}"],
                "models": [{"name": "bench", "version": "1", "model_folder": str(folder / "models" / "bench")}],
                "log_level": "warning",
            }
        )
    )
    profile = ["-m", "cProfile", "-o", options.profile] if options.profile else []
    worker = await asyncio.create_subprocess_exec(
        sys.executable, *profile, "-m", "serving.worker", "--settings", str(settings)
    )
    try:
        await asyncio.wait_for(router.ready, 60)
        process = psutil.Process(worker.pid)
        start = process.cpu_times()
        router.start()
        await asyncio.sleep(0.5)
        before, answered, batches, begin = process.cpu_times(), router.answered, router.batches, time.monotonic()
        await asyncio.sleep(options.seconds)
        took_s = time.monotonic() - begin
        pss = process.memory_full_info().pss
        after, answered, batches = process.cpu_times(), router.answered - answered, router.batches - batches
    finally:
        router.stop()
        worker.terminate()
        code = await asyncio.wait_for(worker.wait(), 30)
        server.close()
    cpu_s = after.user + after.system - before.user - before.system
    return {
        "framework": options.framework,
        "in_flight": options.in_flight,
        "load_s": round(router.load_s, 3),
        "worker_start_cpu_s": round(start.user + start.system, 2),
        "worker_pss_mib": round(pss / 2**20),
        "requests_per_s": round(answered / took_s),
        "worker_cpu_us_per_request": round(cpu_s / answered * 1e6, 1),
        "worker_user_us_per_request": round((after.user - before.user) / answered * 1e6, 1),
        "rows_per_batch": round(answered / max(1, batches), 1),
        "mean_us_per_batch": {
            "decode": round(router.input_s / router.batches * 1e6, 1),
            "infer": round(router.infer_s / router.batches * 1e6, 1),
            "encode": round(router.output_s / router.batches * 1e6, 1),
        },
        "failed": len(router.failed),
        "first_failure": router.failed[:1],
        "exit_code": code,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--framework", choices=("xgboost", "onnx", "echo"), default="xgboost")
    parser.add_argument("--compile", choices=("auto", "off", "force"), default="auto", help="framework xgboost only")
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--profile", default="", help="write a cProfile of the worker to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(uvloop.run(bench(options, Path(folder)))))


if __name__ == "__main__":
    main()
