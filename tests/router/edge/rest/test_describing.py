import asyncio
from collections.abc import Awaitable, Callable

from tests.router.edge.rest.rig import Caller, FakeWorker, make_core, model, tensor

X = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}


def served(body: Callable[[Caller, FakeWorker], Awaitable[None]]) -> None:
    """Model m, versions 1 and 2."""

    async def run() -> None:
        core = make_core()
        models = [model("m", [tensor("x", "FP32", 2)], handle=handle, version=str(handle)) for handle in (1, 2)]
        await body(Caller(core), FakeWorker(core, *models))

    asyncio.run(run())


def test_health_has_a_body_and_a_status() -> None:
    """Triton's clients read the status, KServe's the body."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        live, ready = await caller.get("/v2/health/live"), await caller.get("/v2/health/ready")
        assert (live.status, live.json) == (200, {"live": True})
        assert (ready.status, ready.json) == (200, {"ready": True})

    served(body)


def test_not_ready_before_it_listens() -> None:
    """503, so that a balancer sends nothing here."""

    async def run() -> None:
        core = make_core()
        core.listeners.clear()
        answer = await Caller(core).get("/v2/health/ready")
        assert (answer.status, answer.json) == (503, {"ready": False})

    asyncio.run(run())


def test_server_metadata() -> None:
    """What tritonclient prints first."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        document = (await caller.get("/v2")).json
        assert document["name"] == "dodona"
        assert "binary_tensor_data" in document["extensions"]

    served(body)


def test_model_metadata() -> None:
    """Shapes with the batch in front, as numbers."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        document = (await caller.get("/v2/models/m")).json
        assert document["versions"] == ["1", "2"]
        assert document["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
        assert (await caller.get("/v2/models/m/versions/1")).json["name"] == "m"
        assert (await caller.get("/v2/models")).json == {"models": ["m"]}

    served(body)


def test_model_ready() -> None:
    """200, 404 for what is unknown, 503 once its worker has gone."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        assert (await caller.get("/v2/models/m/ready")).json == {"name": "m", "ready": True}
        assert (await caller.get("/v2/models/m/versions/2/ready")).status == 200
        assert (await caller.get("/v2/models/m/versions/3/ready")).status == 404
        assert (await caller.get("/v2/models/nope/ready")).status == 404
        worker.leave()
        assert (await caller.get("/v2/models/m/ready")).status == 503

    served(body)


def test_model_config() -> None:
    """Triton's configuration as an object of its own, with its field names."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        document = (await caller.get("/v2/models/m/config")).json
        assert (document["name"], document["max_batch_size"]) == ("m", 64)
        assert document["input"][0]["dims"] == [2]
        assert document["input"][0]["data_type"] == "TYPE_FP32"
        assert (await caller.get("/v2/models/m/versions/1/config")).status == 200

    served(body)


def test_statistics() -> None:
    """Of all models, a model, a version; counts are numbers."""

    async def body(caller: Caller, worker: FakeWorker) -> None:
        await caller.post("/v2/models/m/infer", {"inputs": [X]})
        entries = (await caller.get("/v2/models/stats")).json["model_stats"]
        assert [(entry["version"], entry["inference_stats"]["success"]["count"]) for entry in entries] == [
            ("1", 0),
            ("2", 1),
        ]
        assert len((await caller.get("/v2/models/m/stats")).json["model_stats"]) == 2
        assert len((await caller.get("/v2/models/m/versions/2/stats")).json["model_stats"]) == 1
        assert (await caller.get("/v2/models/nope/stats")).status == 404

    served(body)
