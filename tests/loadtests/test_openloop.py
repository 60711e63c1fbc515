"""The parts of the open-loop generator that can be checked without a server."""

import asyncio
from itertools import pairwise
from math import isnan

import grpc
import pytest

from loadtests.openloop import METHOD, Load, arrivals, body, open_loop, quantile


def test_arrivals_are_poisson_and_repeatable() -> None:
    """The same seed gives the same times, in order, at the rate asked for, with gaps whose spread equals their mean."""
    times = list(arrivals(1000.0, 20.0, 7))
    assert times == list(arrivals(1000.0, 20.0, 7))
    assert times == sorted(times)
    assert len(times) == pytest.approx(20_000, rel=0.03)
    gaps = [after - before for before, after in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    assert sum((gap - mean) ** 2 for gap in gaps) / len(gaps) == pytest.approx(mean**2, rel=0.1)


def test_quantiles() -> None:
    """The value below which the share lies; of nothing, no number."""
    assert quantile(list(range(100)), 0.99) == 99
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert isnan(quantile([], 0.5))


def test_every_request_is_counted_once_and_latency_starts_when_it_was_due() -> None:
    """Against a real server that answers every other request with a refusal and its delay."""

    async def run() -> None:
        asked = 0

        async def answer(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
            nonlocal asked
            asked += 1
            if asked % 2:
                context.set_trailing_metadata((("retry-after-ms", "25"),))
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much")
            return request

        server = grpc.aio.server()
        service, method = METHOD[1:].split("/")
        rpc = grpc.unary_unary_rpc_method_handler(answer)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: rpc}),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        outcome = await open_loop(f"127.0.0.1:{port}", Load(body("m", 2), 200.0, 0.5, 10.0), warm_up_s=0.0)
        await server.stop(None)
        assert outcome.sent == asked == len(list(arrivals(200.0, 0.5, 1)))
        assert outcome.statuses["RESOURCE_EXHAUSTED"] == len(outcome.retry_ms) == (asked + 1) // 2
        assert set(outcome.retry_ms) == {25}
        assert outcome.statuses["OK"] == len(outcome.latencies_s) == asked // 2
        assert min(outcome.latencies_s) > 0

    asyncio.run(run())
