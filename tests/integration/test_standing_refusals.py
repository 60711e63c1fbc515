"""Too much work over real sockets: what callers of a standing refusal are told, and when it ends."""

import asyncio

import grpc.aio

from protos import link_pb2
from router.edge.grpc.methods import methods
from router.front.http2 import Http2Front
from router.settings import Limits, RouterSettings, Tls
from tests.router.edge.grpc.rig import FakeWorker, infer_request, make_core, within

PATH = "/inference.GRPCInferenceService/ModelInfer"
LIMITS = Limits(max_pending=1)


def test_a_standing_refusal_reaches_many_callers_and_ends_with_the_next_result() -> None:
    """Of 40 alike one runs and one waits; the others hear the status, the delay and an id of their own. Once a result
    has come, one more is admitted, and all that were are answered."""
    asyncio.run(_flood())


async def _flood() -> None:
    core = make_core(RouterSettings(limits=LIMITS))
    worker = FakeWorker(core, automatic=False)
    worker.say(link_pb2.Envelope(credit=link_pb2.Credit(handle=1, window_rows=1)))
    front = Http2Front(methods(core), "127.0.0.1", 0, LIMITS, Tls())
    async with grpc.aio.insecure_channel(await front.start()) as channel:
        infer = channel.unary_unary(PATH)
        calls = [infer(infer_request(), timeout=30) for _ in range(2)]
        first = await worker.job()
        while core.status().pending < 1:
            await asyncio.sleep(0)
        refused = [await _refusal(infer(infer_request(), timeout=30)) for _ in range(38)]
        assert {error.code() for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert {error.details() for error in refused} == {refused[0].details()}
        trailers = [dict(error.trailing_metadata()) for error in refused]
        assert {one["retry-after-ms"] for one in trailers} == {"100"}
        ids = {str(one["x-request-id"]) for one in trailers}
        assert len(ids) == 38
        assert max(map(len, ids)) > min(map(len, ids)), "some were turned away without becoming a call"
        assert core.metrics.shed.labels("pending").read() == 38
        first.reply()
        second = await worker.job()
        calls.append(infer(infer_request(), timeout=30))
        second.reply()
        (await worker.job()).reply()
        assert all([await within(asyncio.ensure_future(_answer(call))) for call in calls])
    await front.drain(1.0)


async def _refusal(call: "grpc.aio.UnaryUnaryCall[bytes, bytes]") -> grpc.aio.AioRpcError:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("it was admitted")


async def _answer(call: "grpc.aio.UnaryUnaryCall[bytes, bytes]") -> bytes:
    return await call
