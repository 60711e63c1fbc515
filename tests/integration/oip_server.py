"""A small server of the Open Inference Protocol on grpc.aio, for tests of the client without the rest of Dodona.

Its models: `sum` (one input `x` FP32[-1,3] with columns a, b, c; output `total`), `pair` (inputs `n` INT32[-1] and
`word` BYTES[-1], answered as they came) and `slow`, which answers when the test says so.
"""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from typing import Any, Self

import grpc
import grpc.aio
import numpy as np
import orjson

from protos import admin_pb2, inference_pb2, model_config_pb2
from serving.tensors import from_raw, to_raw

Metadata = inference_pb2.ModelMetadataResponse.TensorMetadata


class OipServer:
    """Runs in a thread of its own. `versions` are those of `sum`; the newest answers where none is asked for."""

    def __init__(self, tls: tuple[bytes, bytes] | None = None) -> None:
        """`tls`: PEM of key and certificate; callers must then show a certificate of the same authority."""
        self._tls = tls
        self.columns: dict[str, list[str]] = {"1": ["a", "b", "c"]}
        self.versions = ["1"]
        self.calls: list[str] = []
        self.request_ids: list[str] = []
        self.refusals: list[tuple[grpc.StatusCode, str, tuple[tuple[str, str], ...]]] = []
        self.with_config = True
        self.describes: list[str] | None = None
        self.address = ""
        self.slow_started = threading.Event()
        self.slow_cancelled = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop: asyncio.Event
        self._started: Future[str] = Future()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._main(),))

    def __enter__(self) -> Self:
        self._thread.start()
        self.address = self._started.result(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((self._handlers(),))
        if self._tls is None:
            address = f"grpc://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        else:
            credentials = grpc.ssl_server_credentials([self._tls], self._tls[1], require_client_auth=True)
            address = f"grpcs://localhost:{server.add_secure_port('127.0.0.1:0', credentials)}"
        await server.start()
        self._started.set_result(address)
        await self._stop.wait()
        await server.stop(None)

    def _handlers(self) -> grpc.GenericRpcHandler:
        unary = {
            "ServerLive": (inference_pb2.ServerLiveRequest, self.server_live),
            "ServerReady": (inference_pb2.ServerReadyRequest, self.server_ready),
            "ModelReady": (inference_pb2.ModelReadyRequest, self.model_ready),
            "ModelMetadata": (inference_pb2.ModelMetadataRequest, self.model_metadata),
            "ModelConfig": (inference_pb2.ModelConfigRequest, self.model_config),
            "ModelInfer": (inference_pb2.ModelInferRequest, self.model_infer),
            "ModelStatistics": (inference_pb2.ModelStatisticsRequest, self.statistics),
            "RepositoryIndex": (inference_pb2.RepositoryIndexRequest, self.index),
            "RepositoryModelLoad": (inference_pb2.RepositoryModelLoadRequest, self.load),
            "RepositoryModelUnload": (inference_pb2.RepositoryModelUnloadRequest, self.unload),
        }
        methods: dict[str, grpc.RpcMethodHandler] = {
            f"/inference.GRPCInferenceService/{name}": self._unary(name, request, run)
            for name, (request, run) in unary.items()
        }
        methods["/dodona.admin.v1.Admin/Status"] = self._unary("Status", admin_pb2.StatusRequest, self.status)
        methods["/inference.GRPCInferenceService/ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(
            self.model_stream_infer, inference_pb2.ModelInferRequest.FromString, _serialised
        )

        class Handlers(grpc.GenericRpcHandler):
            def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
                return methods.get(details.method)

        return Handlers()

    def _unary(self, name: str, request: Any, run: Any) -> grpc.RpcMethodHandler:
        async def call(message: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            self.calls.append(name)
            metadata = dict(context.invocation_metadata() or ())
            request_id = str(metadata.get("x-request-id", ""))
            self.request_ids.append(request_id)
            await context.send_initial_metadata((("x-request-id", request_id),))
            if name == "ModelInfer" and self.refusals:
                code, text, trailers = self.refusals.pop(0)
                await context.abort(code, text, trailers)
            return await run(message, context)

        return grpc.unary_unary_rpc_method_handler(call, request.FromString, _serialised)

    async def server_live(self, *_: Any) -> Any:
        return inference_pb2.ServerLiveResponse(live=True)

    async def server_ready(self, *_: Any) -> Any:
        return inference_pb2.ServerReadyResponse(ready=True)

    async def model_ready(self, request: Any, _: Any) -> Any:
        return inference_pb2.ModelReadyResponse(ready=request.name == "sum")

    async def model_metadata(self, request: Any, context: Any) -> Any:
        if request.name == "pair":
            return inference_pb2.ModelMetadataResponse(
                name="pair",
                versions=["1"],
                inputs=[
                    Metadata(name="n", datatype="INT32", shape=[-1]),
                    Metadata(name="word", datatype="BYTES", shape=[-1]),
                ],
            )
        if request.name not in ("sum", "slow"):
            await context.abort(grpc.StatusCode.NOT_FOUND, f"model {request.name!r} is unknown; see `dodona models`")
        version = self._described_version(request.version)
        return inference_pb2.ModelMetadataResponse(
            name=request.name,
            versions=self.versions,
            platform="test",
            inputs=[Metadata(name="x", datatype="FP32", shape=[-1, len(self.columns[version])])],
            outputs=[Metadata(name="total", datatype="FP32", shape=[-1])],
        )

    def _described_version(self, asked: str) -> str:
        """`describes` plays a server whose default version changes between two calls."""
        if asked:
            return asked
        return self.describes.pop(0) if self.describes else self.versions[-1]

    async def model_config(self, request: Any, context: Any) -> Any:
        if not self.with_config:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no configuration here")
        config = model_config_pb2.ModelConfig(name=request.name, max_batch_size=8)
        if request.name == "sum":
            version = request.version or (self.describes.pop(0) if self.describes else self.versions[-1])
            config.parameters["columns:x"].string_value = orjson.dumps(self.columns[version]).decode()
            config.parameters["labels:total"].string_value = '["low", "high"]'
        return inference_pb2.ModelConfigResponse(config=config)

    async def model_infer(self, request: Any, context: Any) -> Any:
        if request.model_name == "slow":
            self.slow_started.set()
            try:
                await self._stop.wait()
            except asyncio.CancelledError:
                self.slow_cancelled.set()
                raise
        if request.model_name == "pair":
            response = inference_pb2.ModelInferResponse(model_name="pair", model_version="1", id=request.id)
            for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
                response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
                response.raw_output_contents.append(raw)
            return response
        version = request.model_version or self.versions[-1]
        columns = self.columns[version]
        x = from_raw(request.raw_input_contents[0], "FP32", request.inputs[0].shape, "x")
        if x.ndim != 2 or x.shape[1] != len(columns):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"inputs[0].shape: {x.shape} does not fit")
        weights = np.array([{"a": 1, "b": 10, "c": 100, "d": 1000}[column] for column in columns], np.float32)
        response = inference_pb2.ModelInferResponse(model_name="sum", model_version=version, id=request.id)
        response.outputs.add(name="total", datatype="FP32", shape=[len(x)])
        response.raw_output_contents.append(to_raw((x * weights).sum(axis=1, dtype=np.float32)))
        context.set_trailing_metadata((("server-timing", "queue;dur=2, infer;dur=0.5"),))
        return response

    async def model_stream_infer(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            if request.parameters["fail"].bool_param:
                yield inference_pb2.ModelStreamInferResponse(error_message="this one failed")
            else:
                yield inference_pb2.ModelStreamInferResponse(infer_response=await self.model_infer(request, context))

    async def index(self, request: Any, _: Any) -> Any:
        entries = [("sum", version, "READY", "") for version in self.versions]
        if not request.ready:
            entries.append(("broken", "1", "FAILED", "model.yaml: unknown key"))
        response = inference_pb2.RepositoryIndexResponse()
        for name, version, state, reason in entries:
            response.models.add(name=name, version=version, state=state, reason=reason)
        return response

    async def load(self, request: Any, context: Any) -> Any:
        if request.model_name != "sum":
            await context.abort(grpc.StatusCode.NOT_FOUND, f"model {request.model_name!r} is not in the repository")
        return inference_pb2.RepositoryModelLoadResponse()

    async def unload(self, *_: Any) -> Any:
        return inference_pb2.RepositoryModelUnloadResponse()

    async def statistics(self, request: Any, _: Any) -> Any:
        entry = inference_pb2.ModelStatistics(name=request.name or "sum", version="1", inference_count=5)
        return inference_pb2.ModelStatisticsResponse(model_stats=[entry])

    async def status(self, *_: Any) -> Any:
        return admin_pb2.StatusResponse(router="test", pending=3)


def _serialised(message: Any) -> bytes:
    result: bytes = message.SerializeToString()
    return result
