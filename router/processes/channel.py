"""What a router's parent and its processes say to each other: asks with answers, and tells, over a pair of sockets.

A frame is a head (bytes of the body, kind, word, number) and a body. Both ends are alike: either may ask, and an answer
carries the number of its ask. The end of the connection is the end of the other side, however it came about: what was
asked fails then, and `gone` is done.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from enum import IntEnum
from itertools import count
from struct import Struct
from typing import Final, cast

log = logging.getLogger(__name__)

_HEAD: Final = Struct("<IBBI")
MAX_BODY_BYTES: Final = 64 * 1024 * 1024


class Word(IntEnum):
    """What is asked or told. Asked by the parent it is about the process, asked by a process about all of them."""

    SETTINGS = 1
    """Told by the parent before anything else."""
    STARTED = 2
    READY = 3
    """Told by a process: whether it is; by the parent: whether all the others are."""
    FIGURES = 4
    STATUS = 5
    SERVED = 6
    """How many replicas are connected, by version, and how many agents."""
    TURN = 7
    """Answered once everything that had arrived before was taken in."""


class _Kind(IntEnum):
    TELL = 0
    ASK = 1
    ANSWER = 2


class Gone(Exception):
    """The other end has ended, or ended before it answered."""


def frame(kind: int, word: Word, number: int, body: bytes) -> bytes:
    return _HEAD.pack(len(body), kind, word, number) + body


def read_first(end: socket.socket) -> bytes:
    """Blocking: the body of the first frame, before there is an event loop. Raises Gone."""
    size, _, _, _ = _HEAD.unpack(_exactly(end, _HEAD.size))
    return _exactly(end, size)


def _exactly(end: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        part = end.recv(size - len(received))
        if not part:
            raise Gone("the parent has ended")
        received += part
    return bytes(received)


class Channel(asyncio.Protocol):
    """`answer(word, body)` gives the body of the answer to an ask; `told(word, body)` takes a tell, in the event
    loop."""

    def __init__(self, answer: Callable[[Word, bytes], Awaitable[bytes]], told: Callable[[Word, bytes], None]) -> None:
        self._answer = answer
        self._told = told
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._numbers = count(1)
        self._answering: set[asyncio.Task[None]] = set()
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self, end: socket.socket) -> None:
        end.setblocking(False)
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=end)

    def tell(self, word: Word, body: bytes = b"") -> None:
        """Nothing if the other end has gone."""
        self._write(frame(_Kind.TELL, word, 0, body))

    async def ask(self, word: Word, body: bytes = b"", *, timeout_s: float) -> bytes:
        """Raises Gone, TimeoutError."""
        if self.gone.done():
            raise Gone("the other end has ended")
        number = next(self._numbers) & 0xFFFFFFFF
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._write(frame(_Kind.ASK, word, number, body))
            return await asyncio.wait_for(answer, timeout_s)
        finally:
            del self._asked[number]

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it

    def data_received(self, data: bytes) -> None:
        self._received += data
        while len(self._received) >= _HEAD.size:
            size, kind, word, number = _HEAD.unpack_from(self._received)
            if size > MAX_BODY_BYTES:
                log.error("frame of another process is too large", extra={"bytes": size, "limit": MAX_BODY_BYTES})
                self.close()
                return
            end = _HEAD.size + size
            if len(self._received) < end:
                return
            body = bytes(self._received[_HEAD.size : end])
            del self._received[:end]
            self._take(kind, Word(word), number, body)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's
        for task in self._answering:
            task.cancel()
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(Gone("the other end has ended"))
        if not self.gone.done():
            self.gone.set_result(None)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _take(self, kind: int, word: Word, number: int, body: bytes) -> None:
        if kind == _Kind.TELL:
            self._told(word, body)
        elif kind == _Kind.ASK:
            task = asyncio.ensure_future(self._reply(word, number, body))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        else:
            answer = self._asked.get(number)
            if answer is not None and not answer.done():
                answer.set_result(body)

    async def _reply(self, word: Word, number: int, body: bytes) -> None:
        try:
            self._write(frame(_Kind.ANSWER, word, number, await self._answer(word, body)))
        except Exception:  # the asker's patience ends; the connection goes on
            log.exception("another process could not be answered", extra={"word": word.name})


_SIZE: Final = Struct("<I")


def joined(bodies: list[bytes]) -> bytes:
    """Several bodies as one."""
    return b"".join(_SIZE.pack(len(body)) + body for body in bodies)


def parted(body: bytes) -> list[bytes]:
    """What `joined` joined."""
    bodies = []
    start = 0
    while start < len(body):
        (size,) = _SIZE.unpack_from(body, start)
        start += _SIZE.size
        bodies.append(body[start : start + size])
        start += size
    return bodies
