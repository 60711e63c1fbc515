"""The fixed yardstick of `loadtests.ratio`: a small server of two processes with a fixed amount of Python a request.

    python -m loadtests.yardstick        # prints its port, serves until it is ended

A front takes HTTP/1.1, hands the body over a unix socket to a process behind it, and returns what that makes of it:
sockets, wake-ups and interpreter code in the same order as Dodona's router and worker have them, on the same event
loop, so that a slow or busy machine makes both dearer. It imports nothing of Dodona and must never get faster or
slower: whoever changes it records the ratios anew.
"""

import asyncio
import json
import socket
import struct
import subprocess
import sys
from abc import abstractmethod
from collections import deque

import uvloop

ROUNDS = 2
ANSWER_BYTES = 100
_LENGTH = struct.Struct(">I")


class Front(asyncio.Protocol):
    """Every whole request goes to the process behind; answers come back in the order of the requests."""

    def __init__(self, back: "Link") -> None:
        self._kept = b""
        self._back = back

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
            self._back.ask(work(rest[:length]), self._transport)  # type: ignore[arg-type]
        self._kept = text


class Frames(asyncio.Protocol):
    """Four bytes of length, then the frame."""

    def __init__(self) -> None:
        self._kept = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        text, at = self._kept + data, 0
        while len(text) >= at + 4:
            end = at + 4 + _LENGTH.unpack_from(text, at)[0]
            if len(text) < end:
                break
            self.frame(text[at + 4 : end])
            at = end
        self._kept = text[at:]

    def send(self, frame: bytes) -> None:
        self._transport.write(_LENGTH.pack(len(frame)) + frame)

    @abstractmethod
    def frame(self, frame: bytes) -> None:
        """One has come."""


class Link(Frames):
    """The front's end of the unix socket."""

    def __init__(self) -> None:
        super().__init__()
        self._asked: deque[asyncio.Transport] = deque()

    def ask(self, frame: bytes, caller: asyncio.Transport) -> None:
        self._asked.append(caller)
        self.send(frame)

    def frame(self, frame: bytes) -> None:
        text = frame[:ANSWER_BYTES].ljust(ANSWER_BYTES)
        self._asked.popleft().write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(text) + text)


class Back(Frames):
    """The other end, in the process behind."""

    def __init__(self) -> None:
        super().__init__()
        self.gone = asyncio.Event()

    def frame(self, frame: bytes) -> None:
        self.send(work(frame))

    def connection_lost(self, _: Exception | None) -> None:
        self.gone.set()


def work(body: bytes) -> bytes:
    """Numbers in, their sums out, over again: arithmetic, calls, dictionaries and lists."""
    numbers = json.loads(body)["data"]
    for _ in range(ROUNDS):
        sums: dict[int, float] = {}
        for position, number in enumerate(numbers):
            sums[position % 7] = sums.get(position % 7, 0.0) + number
        numbers = [sums[position % 7] / (position + 1) for position in range(len(numbers))]
    return json.dumps({"data": [round(number, 3) for number in numbers]}).encode()


async def serve() -> None:
    loop = asyncio.get_running_loop()
    mine, theirs = socket.socketpair()
    command = [sys.executable, "-m", "loadtests.yardstick", str(theirs.fileno())]
    subprocess.Popen(command, pass_fds=[theirs.fileno()])
    theirs.close()
    _, link = await loop.create_connection(Link, sock=mine)
    server = await loop.create_server(lambda: Front(link), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def behind(descriptor: int) -> None:
    """Until the front goes."""
    _, back = await asyncio.get_running_loop().create_connection(Back, sock=socket.socket(fileno=descriptor))
    await back.gone.wait()


if __name__ == "__main__":
    uvloop.run(behind(int(sys.argv[1])) if len(sys.argv) > 1 else serve())
