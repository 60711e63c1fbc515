"""Checks of the shared memory extension with tritonclient, sync and aio, over gRPC and over REST.

They need a cluster on this machine. Each takes the router's gRPC and REST addresses ("host:port") and the name of a
model with outputs of a fixed size, so that the answers in memory can be compared with those on the wire.
"""

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import urlopen
from uuid import uuid4

import numpy as np
import pytest
import tritonclient.grpc as grpc
import tritonclient.grpc.aio as grpc_aio
import tritonclient.http as http
import tritonclient.http.aio as http_aio
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException

ROWS = 3
Check = Callable[[str, str, str], None]


class Tensors:
    """An input and the outputs of a model in regions of their own, and what the answer on the wire is."""

    def __init__(self, client: Any, model: str) -> None:
        described = client.get_model_metadata(model, as_json=True)
        self.model = model
        self.datatype = described["inputs"][0]["datatype"]
        self.input = described["inputs"][0]["name"]
        shape = [int(extent) for extent in described["inputs"][0]["shape"]]
        self.array = np.ones([ROWS, *shape[1:]], np.float32)
        one = grpc.InferInput(self.input, list(self.array.shape), self.datatype).set_data_from_numpy(self.array)
        result = client.infer(model, [one])
        self.expected = {output["name"]: result.as_numpy(output["name"]) for output in described["outputs"]}

    def input_in(self, module: Any, region: str) -> list[Any]:
        one = module.InferInput(self.input, list(self.array.shape), self.datatype)
        one.set_shared_memory(region, self.array.nbytes)
        return [one]

    def outputs_in(self, module: Any, regions: dict[str, str]) -> list[Any]:
        wanted = []
        for name, region in regions.items():
            output = module.InferRequestedOutput(name)
            output.set_shared_memory(region, self.expected[name].nbytes)
            wanted.append(output)
        return wanted


def workers(http_address: str) -> set[int]:
    """The worker processes that the router knows."""
    with urlopen(f"http://{http_address}/admin/v1/status", timeout=10) as answer:
        return {worker["pid"] for worker in json.load(answer)["workers"]}


@contextmanager
def objects(**sizes: int) -> Iterator[dict[str, tuple[str, Any]]]:
    """Shared memory objects by name: their keys and tritonclient's handles."""
    made = {name: f"/dodona-test-{uuid4().hex}" for name in sizes}
    handles = {name: shm.create_shared_memory_region(name, key, sizes[name]) for name, key in made.items()}
    try:
        yield {name: (key, handles[name]) for name, key in made.items()}
    finally:
        for handle in handles.values():
            shm.destroy_shared_memory_region(handle)


def infer_in_shared_memory(grpc_address: str, http_address: str, model: str) -> None:
    """Registered over one protocol, a region serves both; what is written to it is the answer on the wire."""
    with (
        grpc.InferenceServerClient(grpc_address) as grpc_client,
        http.InferenceServerClient(http_address) as http_client,
    ):
        assert "system_shared_memory" in grpc_client.get_server_metadata().extensions
        tensors = Tensors(grpc_client, model)
        sizes = {name: array.nbytes for name, array in tensors.expected.items()}
        with objects(**{tensors.input: tensors.array.nbytes}, **sizes) as regions:
            shm.set_shared_memory_region(regions[tensors.input][1], [tensors.array])
            for number, (name, (key, _)) in enumerate(regions.items()):
                client: Any = (grpc_client, http_client)[number % 2]
                client.register_system_shared_memory(name, key, sizes.get(name, tensors.array.nbytes))
            try:
                for client, module in ((grpc_client, grpc), (http_client, http)):
                    inputs = tensors.input_in(module, tensors.input)
                    answer = client.infer(model, inputs)
                    for name, expected in tensors.expected.items():
                        np.testing.assert_array_equal(answer.as_numpy(name), expected)
                    client.infer(model, inputs, outputs=tensors.outputs_in(module, {name: name for name in sizes}))
                    for name, expected in tensors.expected.items():
                        found = shm.get_contents_as_numpy(regions[name][1], expected.dtype, expected.shape)
                        np.testing.assert_array_equal(found, expected)
                        shm.set_shared_memory_region(regions[name][1], [np.zeros_like(expected)])
            finally:
                grpc_client.unregister_system_shared_memory()


def infer_with_the_aio_clients(grpc_address: str, http_address: str, model: str) -> None:
    """Many at once, over both protocols."""

    async def walk(tensors: Tensors, key: str) -> None:
        async with (
            grpc_aio.InferenceServerClient(grpc_address) as by_grpc,
            http_aio.InferenceServerClient(http_address) as by_http,
        ):
            await by_http.register_system_shared_memory("in", key, tensors.array.nbytes)
            assert "in" in (await by_grpc.get_system_shared_memory_status()).regions
            calls = [by_grpc.infer(model, tensors.input_in(grpc, "in")) for _ in range(16)]
            calls += [by_http.infer(model, tensors.input_in(http, "in")) for _ in range(16)]
            for answer in await asyncio.gather(*calls):
                for name, expected in tensors.expected.items():
                    np.testing.assert_array_equal(answer.as_numpy(name), expected)
            await by_grpc.unregister_system_shared_memory("in")
            assert await by_http.get_system_shared_memory_status() == []

    with grpc.InferenceServerClient(grpc_address) as client:
        tensors = Tensors(client, model)
    with objects(object=tensors.array.nbytes) as regions:
        shm.set_shared_memory_region(regions["object"][1], [tensors.array])
        asyncio.run(walk(tensors, regions["object"][0]))


def status_of_regions(grpc_address: str, http_address: str, model: str) -> None:
    """Both protocols list the same regions, one by one and together; unregistering twice is no error."""
    with grpc.InferenceServerClient(grpc_address) as by_grpc, http.InferenceServerClient(http_address) as by_http:
        with objects(object=64) as regions:
            key = regions["object"][0]
            by_grpc.register_system_shared_memory("a b/ä", key, 32, offset=32)
            by_http.register_system_shared_memory("c", key, 64)
            listed = by_http.get_system_shared_memory_status()
            assert listed == [
                {"name": "a b/ä", "key": key, "offset": 32, "byte_size": 32},
                {"name": "c", "key": key, "offset": 0, "byte_size": 64},
            ]
            assert by_http.get_system_shared_memory_status("c") == listed[1:]
            status = by_grpc.get_system_shared_memory_status("a b/ä").regions
            assert [(region.key, region.offset, region.byte_size) for region in status.values()] == [(key, 32, 32)]
            by_http.unregister_system_shared_memory("c")
            by_http.unregister_system_shared_memory("c")
            by_grpc.unregister_system_shared_memory("a b/ä")
        assert by_http.get_system_shared_memory_status() == []


def refusals_in_the_same_words(grpc_address: str, http_address: str, model: str) -> None:
    """Over gRPC and REST: the status of the table, and one text."""
    with grpc.InferenceServerClient(grpc_address) as by_grpc, http.InferenceServerClient(http_address) as by_http:
        tensors = Tensors(by_grpc, model)
        size = tensors.array.nbytes

        def refused(ask: Callable[[Any, Any], object], code: str, status: str, words: str) -> None:
            texts = []
            for client, module, expected in ((by_grpc, grpc, f"StatusCode.{code}"), (by_http, http, status)):
                with pytest.raises(InferenceServerException) as error:
                    ask(client, module)
                assert error.value.status() == expected
                texts.append(error.value.message())
            assert texts[0] == texts[1]
            assert words in texts[0]
            assert ";" in texts[0], f"the remedy is missing: {texts[0]}"

        def infer(region: str, byte_size: int = size, offset: int = 0) -> Callable[[Any, Any], object]:
            def ask(client: Any, module: Any) -> object:
                one = module.InferInput(tensors.input, list(tensors.array.shape), tensors.datatype)
                return client.infer(model, [one.set_shared_memory(region, byte_size, offset)])

            return ask

        def output(client: Any, module: Any) -> object:
            return client.infer(
                model,
                tensors.input_in(module, "r"),
                outputs=tensors.outputs_in(module, dict.fromkeys(tensors.expected, "s")),
            )

        with objects(object=size, small=1) as regions:
            (key, _), (small, _) = regions.values()
            by_grpc.register_system_shared_memory("r", key, size)
            by_grpc.register_system_shared_memory("s", small, 1)
            try:
                refused(
                    lambda client, _: client.register_system_shared_memory("r", key, size),
                    "ALREADY_EXISTS",
                    "409",
                    "'r' is",
                )
                for bad_key, words in (
                    ("/no-such-object", "cannot be opened"),
                    ("/../passwd", "names no"),
                    ("", "names no"),
                ):
                    refused(
                        lambda client, _, bad=bad_key: client.register_system_shared_memory("t", bad, 8),
                        "INVALID_ARGUMENT",
                        "400",
                        f"key: {'shared memory object ' if 'cannot' in words else ''}{bad_key!r} {words}",
                    )
                refused(
                    lambda client, _: client.register_system_shared_memory("t", key, size + 1),
                    "INVALID_ARGUMENT",
                    "400",
                    "byte_size: ",
                )
                refused(lambda client, _: client.get_system_shared_memory_status("t"), "NOT_FOUND", "404", "'t'")
                refused(infer("t"), "NOT_FOUND", "404", "inputs[0].parameters.shared_memory_region")
                refused(infer("r", size - 4), "INVALID_ARGUMENT", "400", "inputs[0].parameters.shared_memory_byte_size")
                refused(infer("r", size, 4), "INVALID_ARGUMENT", "400", "inputs[0].parameters.shared_memory_byte_size")
                refused(output, "INVALID_ARGUMENT", "400", "outputs[0].parameters.shared_memory_byte_size")
            finally:
                by_grpc.unregister_system_shared_memory()


def a_truncated_object(grpc_address: str, http_address: str, model: str) -> None:
    """The caller cuts the object short after it registered it: its requests fail by name, and the worker, which a
    mapping would have killed, answers the next."""
    with grpc.InferenceServerClient(grpc_address) as client:
        tensors = Tensors(client, model)
        before = workers(http_address)
        with objects(object=tensors.array.nbytes) as regions:
            key = regions["object"][0]
            client.register_system_shared_memory("r", key, tensors.array.nbytes)
            try:
                client.infer(model, tensors.input_in(grpc, "r"))
                os.truncate(f"/dev/shm{key}", 0)
                for _ in range(3):
                    with pytest.raises(InferenceServerException, match="'r' was made shorter after it was registered"):
                        client.infer(model, tensors.input_in(grpc, "r"))
            finally:
                client.unregister_system_shared_memory()
        again = Tensors(client, model)
        np.testing.assert_array_equal(again.array, tensors.array)
        assert workers(http_address) == before


SHARED_MEMORY: tuple[Check, ...] = (
    infer_in_shared_memory,
    infer_with_the_aio_clients,
    status_of_regions,
    refusals_in_the_same_words,
    a_truncated_object,
)
