"""The server that foreign clients call: `python -m tests.interop.server http2|grpcio [--age S]`.

One front of ours with methods that echo, fail, hold and stream bytes. Prints its address and drains on SIGTERM.
"""

import argparse
import asyncio
import json
import signal
from collections import Counter

from router.front.calls import Front, Methods, Stream, StreamCall, Unary, UnaryCall
from router.front.grpcio import GrpcioFront
from router.front.http2 import Http2Front
from router.settings import Limits, Tls
from serving import loop
from serving.errors import InvalidRequest, Shed

SERVICE = "/interop.Interop/"
FAULT = "50 % of \u00fc\u4f60\u597d\nand more"


def methods(seen: Counter[str]) -> Methods:
    """`seen` counts what happens to calls."""

    def echo(call: UnaryCall) -> None:
        seen["echo"] += 1
        own = ("x-echo", "x-echo-bin")
        call.reply(call.message, tuple((name, value) for name, value in call.metadata if name in own))

    def fail(call: UnaryCall) -> None:
        raise InvalidRequest(FAULT)

    def shed(call: UnaryCall) -> None:
        call.fail(Shed("busy", retry_after_s=0.25), (("x-reason-bin", b"\x00\xff"),))

    def hold(call: UnaryCall) -> None:
        seen["held"] += 1

        def gone() -> None:
            seen["gone"] += 1

        call.on_cancel = gone

    def slow(call: UnaryCall) -> None:
        asyncio.get_running_loop().call_later(float(call.message.decode()), call.reply, b"at last")

    def count(call: UnaryCall) -> None:
        call.reply(json.dumps(seen).encode())

    async def up(call: StreamCall) -> None:
        await call.send(b"%d" % sum([len(message) async for message in call]))

    async def down(call: StreamCall) -> None:
        async for message in call:
            for number in range(int(message)):
                await call.send(b"%d" % number)

    async def both(call: StreamCall) -> None:
        try:
            async for message in call:
                if message == b"fail":
                    raise InvalidRequest(FAULT)
                await call.send(message)
        finally:  # node ends its side before it resets the stream, so that a cancel may look like an end
            seen["gone"] += 1

    unary = {"Echo": echo, "Fail": fail, "Shed": shed, "Hold": hold, "Slow": slow, "Count": count}
    streaming = {"Up": up, "Down": down, "Both": both}
    return {SERVICE + name: Unary(start) for name, start in unary.items()} | {
        SERVICE + name: Stream(run) for name, run in streaming.items()
    }


async def serve(kind: str, limits: Limits) -> None:
    """Until SIGTERM; then drain."""
    make = Http2Front if kind == "http2" else GrpcioFront
    front: Front = make(methods(Counter()), "127.0.0.1", 0, limits, Tls())
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print(await front.start(), flush=True)
    await stop.wait()
    await front.drain(10.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("front", choices=("http2", "grpcio"))
    parser.add_argument("--age", type=float, default=0.0, help="max_connection_age_s")
    options = parser.parse_args()
    loop.run(serve(options.front, Limits(max_connection_age_s=options.age)))


if __name__ == "__main__":
    main()
