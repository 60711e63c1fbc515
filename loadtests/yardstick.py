"""The fixed yardstick of `loadtests.ratio`: a small HTTP/1.1 server with a fixed amount of Python for each request.

    python -m loadtests.yardstick        # prints its port, serves until it is ended

It reads sockets, runs interpreter code and writes sockets on the same event loop as Dodona, so that a machine that is
slow or busy makes both dearer. It imports nothing of Dodona and must never get faster or slower: whoever changes it
records the ratios anew.
"""

import asyncio
import json

import uvloop

ROUNDS = 3
_ANSWER_BYTES = 100


class Yardstick(asyncio.Protocol):
    """Answers each whole request with a fixed number of bytes."""

    def __init__(self) -> None:
        self._kept = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        text = self._kept + data
        while True:
            head, blank, rest = text.partition(b"\r\n\r\n")
            if not blank:
                break
            length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
            if len(rest) < length:
                break
            text = rest[length:]
            self._transport.write(answer(rest[:length]))  # type: ignore[attr-defined]
        self._kept = text


def answer(body: bytes) -> bytes:
    """Numbers in, their sums out, over again: arithmetic, calls, dictionaries and lists."""
    numbers = json.loads(body)["data"]
    for _ in range(ROUNDS):
        sums: dict[int, float] = {}
        for position, number in enumerate(numbers):
            sums[position % 7] = sums.get(position % 7, 0.0) + number
        numbers = [sums[position % 7] / (position + 1) for position in range(len(numbers))]
    text = json.dumps(numbers[:4]).encode()[:_ANSWER_BYTES].ljust(_ANSWER_BYTES)
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(text) + text


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Yardstick, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
