import asyncio
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protos import link_pb2
from serving.bundle.pack import pack
from serving.worker.settings import WorkerModel
from tests.integration.worker_bed import RouterEnd, values_of, worker
from tests.serving.runtimes.models import booster, breast_cancer, digits, digits_classifier, digits_onnx
from tests.serving.worker.bundles import Gate, X, echo, gated
from tests.serving.worker.requests import request, rows


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 90))


def x(value: float) -> bytes:
    return request({"x": np.full((1, 2), value, np.float32)}).SerializeToString()


def scrape(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as page:
        return str(page.read().decode())


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    made = Gate(tmp_path / "gate")
    yield made
    made.close()


def test_a_real_xgboost_model_from_start_to_sigterm(tmp_path: Path) -> None:
    """Hello, models, credit, 200 answers equal to the Booster's own, metrics, and a clean end."""
    features = breast_cancer()[0][:200]
    pack(booster(), name="cells", repository=tmp_path, golden_inputs=features[:16])
    model = WorkerModel(name="cells", version="1", model_folder=str(tmp_path / "cells"))

    async def test() -> None:
        async with (
            RouterEnd(tmp_path / "r.sock") as router,
            worker(tmp_path, [router.address], [model], "xgboost", token="secret") as process,
        ):
            started = await process.until("started")
            ready = await process.until("ready", "cells")
            assert ready["load_s"] > 0
            await router.until(lambda: router.windows)
            (hello,) = router.hellos
            assert (hello.name, hello.framework, hello.device, hello.token) == ("w1", "xgboost", "cpu", "secret")
            assert (hello.pid, hello.metrics_address) == (started["pid"], started["metrics_address"])
            cells = router.models["cells"]
            assert (cells.version, cells.max_batch_rows, router.windows[cells.handle]) == ("1", 256, 512)
            messages = [request({"input": row[None]}).SerializeToString() for row in features]
            answers = await router.ask(*messages, model="cells")
            import xgboost

            got = np.concatenate([values_of(answer) for answer in answers])
            assert np.array_equal(got, booster().predict(xgboost.DMatrix(features)))
            assert (answers[0].model_name, answers[0].model_version) == ("cells", "1")
            page = await asyncio.to_thread(scrape, started["metrics_address"])
            assert 'dodona_worker_requests_total{model="cells",status="OK",version="1"} 200.0' in page
            assert 'dodona_model_ready{model="cells",version="1"} 1.0' in page
            process.process.send_signal(signal.SIGTERM)
            await process.until("drained")
            assert await process.ended() == 0
            assert router.draining

    run(test)


def test_a_real_onnx_model(tmp_path: Path) -> None:
    """Digits by ONNX Runtime equal scikit-learn's, one request with all rows."""
    pixels = digits()[0][:100]
    file = tmp_path / "digits.onnx"
    file.write_bytes(digits_onnx())
    pack(file, name="digits", repository=tmp_path, golden_inputs=pixels[:8])
    model = WorkerModel(name="digits", version="1", model_folder=str(tmp_path / "digits"))

    async def test() -> None:
        async with (
            RouterEnd(tmp_path / "r.sock") as router,
            worker(tmp_path, [router.address], [model], "onnx") as process,
        ):
            await process.until("ready", "digits")
            await router.until(lambda: router.models)
            (answer,) = await router.ask(request({"X": pixels}).SerializeToString(), model="digits")
            assert (values_of(answer, 0, np.int64) == digits_classifier().predict(pixels)).all()

    run(test)


def test_a_long_run_holds_up_nobody_else(tmp_path: Path, gate: Gate) -> None:
    """While one model runs for long, heartbeats are answered, cancels are taken, and other models answer."""
    models = [gated(tmp_path, gate, "slow"), gated(tmp_path, gate, "fast")]

    async def test() -> None:
        async with (
            RouterEnd(tmp_path / "r.sock") as router,
            worker(tmp_path, [router.address], models, "python", inline_below_s=0) as process,
        ):
            await process.until("ready", "fast")
            await router.until(lambda: len(router.models) == 2)
            (slow,) = router.work(x(1), model="slow")
            router.send(link_pb2.Envelope(heartbeat=link_pb2.Heartbeat(sequence=6)))
            await router.until(lambda: "heartbeat" in router.order)
            router.order.clear()
            (cancelled,) = router.work(x(2), model="slow")
            router.send(link_pb2.Envelope(heartbeat=link_pb2.Heartbeat(sequence=7)))
            await router.ask(x(3), model="fast")
            router.send(link_pb2.Envelope(cancel=link_pb2.Cancel(ids=[cancelled])))
            await router.until(lambda: cancelled in router.answers)
            assert slow not in router.answers
            assert "heartbeat" in router.order
            gate.open()
            await router.until(lambda: slow in router.answers)
            assert values_of(router.answers[slow]).tolist() == [1, 1]
            assert router.answers[cancelled].status == 1

    run(test)


def test_bad_requests_and_bad_models_are_told_apart(tmp_path: Path) -> None:
    """A version that cannot load is reported; a request that raises fails alone; the others are answered."""
    broken = WorkerModel(name="broken", version="9", model_folder=str(tmp_path / "broken"))
    models = [broken, echo(tmp_path, "picky", fail_on=666.0)]

    async def test() -> None:
        async with (
            RouterEnd(tmp_path / "r.sock") as router,
            worker(tmp_path, [router.address], models, "echo") as process,
        ):
            failed = await process.until("failed", "broken")
            assert (failed["version"], bool(failed["reason"])) == ("9", True)
            await process.until("ready", "picky")
            await router.until(lambda: router.models)
            assert list(router.models) == ["picky"]
            bad = request({"x": rows(1, 5)}).SerializeToString()
            one, culprit, malformed, two = await router.ask(x(1), x(666), bad, x(2), model="picky")
            assert (values_of(one).tolist(), values_of(two).tolist()) == ([1, 1], [2, 2])
            assert culprit.status == 13
            assert "666" in culprit.message
            assert (malformed.status, malformed.field) == (3, "inputs[0].shape")

    run(test)


def test_a_lost_router_is_dialled_again(tmp_path: Path) -> None:
    """The worker comes back by itself and announces everything anew; ids may start from zero again."""

    async def test() -> None:
        async with (
            RouterEnd(tmp_path / "r.sock") as router,
            worker(tmp_path, [router.address], [echo(tmp_path)], "echo"),
        ):
            await router.until(lambda: router.models)
            router.hang_up()
            router.models = {}
            await router.until(lambda: len(router.hellos) == 2 and router.models)
            (answer,) = await router.ask(x(4), model="echo")
            assert values_of(answer).tolist() == [4, 4]

    run(test)


def test_two_routers_share_the_window(tmp_path: Path) -> None:
    """Each gets half; when one goes the other gets all."""

    async def test() -> None:
        async with (
            RouterEnd(tmp_path / "a.sock") as one,
            RouterEnd(tmp_path / "b.sock") as two,
            worker(tmp_path, [one.address, two.address], [echo(tmp_path)], "echo"),
        ):
            await one.until(lambda: set(one.windows.values()) == {256})
            await two.until(lambda: set(two.windows.values()) == {256})
            for router in (one, two):
                (answer,) = await router.ask(x(1), model="echo")
                assert values_of(answer).tolist() == [1, 1]
            await two.__aexit__()
            await one.until(lambda: set(one.windows.values()) == {512})

    run(test)


def test_unloading_drains_one_version(tmp_path: Path, gate: Gate) -> None:
    """It is no longer announced, finishes what it has, gives its memory back; the other goes on."""
    models = [gated(tmp_path, gate, "old"), gated(tmp_path, gate, "new")]

    async def test() -> None:
        async with (
            RouterEnd(tmp_path / "r.sock") as router,
            worker(tmp_path, [router.address], models, "python", inline_below_s=0) as process,
        ):
            await process.until("ready", "new")
            await router.until(lambda: len(router.models) == 2)
            handle = router.models["old"].handle
            (last,) = router.work(x(1), model="old")
            process.tell(unload={"name": "old", "version": "1"})
            await router.until(lambda: set(router.models) == {"new"})
            gate.open()
            await process.until("unloaded", "old")
            assert last in router.answers
            (late,) = router.work(x(1), handle=handle)
            await router.until(lambda: late in router.answers)
            assert router.answers[late].status == 14
            (answer,) = await router.ask(x(2), model="new")
            assert values_of(answer).tolist() == [2, 2]

    run(test)


@pytest.mark.parametrize("how", ["the parent's death", "a command", "SIGTERM"])
def test_what_was_accepted_is_answered_before_the_end(tmp_path: Path, gate: Gate, how: str) -> None:
    """However the worker is told to go, it announces it, finishes its work and exits with 0."""

    async def test() -> None:
        async with (
            RouterEnd(tmp_path / "r.sock") as router,
            worker(tmp_path, [router.address], [gated(tmp_path, gate, "gated")], "python", inline_below_s=0) as process,
        ):
            await process.until("ready", "gated")
            await router.until(lambda: router.models)
            ids = router.work(x(1), x(2), model="gated")
            if how == "a command":
                process.tell(drain=True)
            elif how == "SIGTERM":
                process.process.send_signal(signal.SIGTERM)
            else:
                process.leave()
            await router.until(lambda: router.draining)
            gate.open()
            await process.until("drained")
            assert await process.ended() == 0
            await router.until(lambda: all(number in router.answers for number in ids))
            assert [values_of(router.answers[number]).tolist() for number in ids] == [[1, 1], [2, 2]]

    run(test)


def test_a_model_that_fails_to_close_is_still_unloaded(tmp_path: Path) -> None:
    """Its own code may raise what it likes at the end: the parent is told, and the worker goes on and ends well."""
    source = tmp_path / "grumpy.py"
    source.write_text(
        "import asyncio\n"
        "class Model:\n"
        "  def load(self, folder): self.serving = folder.parent.name == 'grumpy'\n"
        "  def predict(self, inputs): return inputs\n"
        "  def close(self):\n"
        "    if self.serving: raise asyncio.CancelledError\n"
    )
    pack(source, name="grumpy", repository=tmp_path, framework="python", class_="grumpy:Model", inputs=[X], outputs=[X])
    model = WorkerModel(name="grumpy", version="1", model_folder=str(tmp_path / "grumpy"))

    async def test() -> None:
        async with (
            RouterEnd(tmp_path / "r.sock") as router,
            worker(tmp_path, [router.address], [model], "python") as process,
        ):
            await process.until("ready", "grumpy")
            process.tell(unload={"name": "grumpy", "version": "1"})
            await process.until("unloaded", "grumpy")
            process.tell(drain=True)
            assert await process.ended() == 0

    run(test)


def test_a_run_that_hangs_does_not_keep_the_worker_alive(tmp_path: Path, gate: Gate) -> None:
    """Past drain_grace_s the process goes, whatever a model's code still does in its thread."""

    async def test() -> None:
        async with (
            RouterEnd(tmp_path / "r.sock") as router,
            worker(
                tmp_path,
                [router.address],
                [gated(tmp_path, gate, "gated")],
                "python",
                inline_below_s=0,
                drain_grace_s=0.3,
            ) as process,
        ):
            await process.until("ready", "gated")
            await router.until(lambda: router.models)
            router.work(x(1), model="gated")
            process.tell(drain=True)
            await process.until("drained")
            assert await process.ended() == 0

    run(test)


def test_a_router_dialled_again_while_draining_learns_of_no_model(tmp_path: Path, gate: Gate) -> None:
    """A link lost in the drain comes back to a worker that is going: it announces nothing, so it gets no work."""

    async def test() -> None:
        async with (
            RouterEnd(tmp_path / "r.sock") as router,
            worker(tmp_path, [router.address], [gated(tmp_path, gate, "gated")], "python", inline_below_s=0) as process,
        ):
            await process.until("ready", "gated")
            await router.until(lambda: router.models)
            router.work(x(1), model="gated")
            process.tell(drain=True)
            await router.until(lambda: router.draining)
            router.order.clear()
            router.hang_up()
            await router.until(lambda: "models" in router.order)
            assert router.models == {}
            gate.open()
            assert await process.ended() == 0

    run(test)


def test_ctrl_c_is_the_parents_business(tmp_path: Path) -> None:
    """SIGINT reaches a whole terminal; a worker with a parent serves on until the parent says otherwise."""

    async def test() -> None:
        async with (
            RouterEnd(tmp_path / "r.sock") as router,
            worker(tmp_path, [router.address], [echo(tmp_path)], "echo") as process,
        ):
            await router.until(lambda: router.models)
            process.process.send_signal(signal.SIGINT)
            (answer,) = await router.ask(x(1), model="echo")
            assert values_of(answer).tolist() == [1, 1]
            process.leave()
            assert await process.ended() == 0

    run(test)


def test_wrong_settings_end_with_a_message(tmp_path: Path) -> None:
    """Exit code 2 and one line that names the key."""
    path = tmp_path / "worker.json"
    path.write_text('{"name": "w", "framework": "echo", "routers": [], "modles": []}')
    command = [sys.executable, "-m", "serving.worker", "--settings", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert result.stderr == "serving.worker: modles: unknown key; did you mean 'models'?\n"
