"""The bad company of a soak: callers that cancel, disconnect, send slowly, reset rapidly or read nothing, all the time.

They are bounded (a few dozen acts a second) and expect of the server only that it goes on answering the others.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Final

import hpack

from loadtests.soak_caller import Questions, header_fields
from router.http2 import frames

_PAUSE_S: Final = 0.05


class Misfit:
    """One connection that will end badly."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, questions: Questions) -> None:
        self.reader = reader
        self.writer = writer
        self._questions = questions
        encoder = hpack.Encoder()
        self._block: bytes = encoder.encode([(*pair, True) for pair in header_fields()])
        writer.write(frames.PREFACE + frames.settings({}))

    def request(self, stream_id: int) -> bytes:
        message, _, _ = self._questions.next()
        message = message[:16_000]
        head = frames.header_frames(stream_id, self._block, 0, 2**14)
        return head + frames.head(frames.DATA, len(message), frames.END_STREAM, stream_id) + message


async def cancel(misfit: Misfit, chance: random.Random) -> None:
    """Ask, and take it back a moment later."""
    for stream_id in range(1, 41, 2):
        misfit.writer.write(misfit.request(stream_id))
        await asyncio.sleep(chance.random() * 0.004)
        misfit.writer.write(frames.rst_stream(stream_id, 8))


async def disconnect(misfit: Misfit, chance: random.Random) -> None:
    """Ask and go, perhaps amid a frame."""
    sent = b"".join(misfit.request(stream_id) for stream_id in range(1, 33, 2))
    misfit.writer.write(sent[: chance.randrange(len(sent))])
    await asyncio.sleep(chance.random() * 0.01)
    misfit.writer.transport.abort()


async def dribble(misfit: Misfit, chance: random.Random) -> None:
    """Send a request byte by byte, and never finish it."""
    for byte in misfit.request(1)[: chance.randrange(20, 120)]:
        misfit.writer.write(bytes((byte,)))
        await asyncio.sleep(0.002)


async def reset_rapidly(misfit: Misfit, chance: random.Random) -> None:
    """Rapid reset: hundreds in one write, until the server has had enough."""
    stream_ids = iter(range(1, 2**20, 2))
    for _ in range(chance.randrange(1, 12)):
        burst = [next(stream_ids) for _ in range(300)]
        misfit.writer.write(b"".join(misfit.request(sid) + frames.rst_stream(sid, 8) for sid in burst))
        await asyncio.sleep(0.02)


async def never_read(misfit: Misfit, chance: random.Random) -> None:
    """Ask for much, read nothing for a while."""
    misfit.writer.transport.pause_reading()  # type: ignore[attr-defined]
    misfit.writer.write(b"".join(misfit.request(stream_id) for stream_id in range(1, 201, 2)))
    await asyncio.sleep(chance.random() * 0.4)


async def garble(misfit: Misfit, chance: random.Random) -> None:
    """A request, then nonsense."""
    misfit.writer.write(misfit.request(1) + chance.randbytes(200))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(misfit.reader.read(), 1.0)


ACTS: Final[tuple[Callable[[Misfit, random.Random], Awaitable[None]], ...]] = (
    cancel,
    disconnect,
    dribble,
    reset_rapidly,
    never_read,
    garble,
)


async def misbehave(host: str, port: int, seed: int, acted: Callable[[], None]) -> None:
    """One act after the other until cancelled; `acted` hears of each."""
    chance = random.Random(seed)
    questions = Questions(2**62 + seed)
    while True:
        act = chance.choice(ACTS)
        writer = None
        try:
            reader, writer = await asyncio.open_connection(host, port)
            await asyncio.wait_for(act(Misfit(reader, writer, questions), chance), 10.0)
        except (ConnectionError, TimeoutError, RuntimeError):
            pass  # the server has had enough; uvloop raises RuntimeError for a transport it has closed
        finally:
            if writer is not None:
                writer.transport.abort()
        acted()
        await asyncio.sleep(chance.random() * _PAUSE_S)
