"""The dialling end of a link, shared by workers and agents: dial, Hello, Welcome, frames, heartbeats, dial again.

A `LinkClient` keeps one connection to one router for as long as `run` runs. What the frames mean is the `Peer`'s
business; this file answers heartbeats, notices a silent router, and backs off between attempts with jitter, so that a
router that comes back is not met by all its workers in the same instant.
"""

import asyncio
import logging
from collections.abc import Sequence
from random import Random
from typing import Final, Protocol, cast

from protos import link_pb2
from serving.link.address import parse_address
from serving.link.buffers import widen
from serving.link.framing import DEFAULT_MAX_FRAME_BYTES, LinkError, encode
from serving.link.receiving import Receiver
from serving.spinning import Woke, never

_FIRST_DELAY_S: Final = 0.05
_SILENT_BEATS: Final = 4
# A router that said goodbye ends or starts again on purpose: that it is away is no fault for so long.
_RETURN_S: Final = 15.0
_GOODBYE: Final = "the router said goodbye: "
_log = logging.getLogger(__name__)


class Peer(Protocol):
    """What a worker or an agent does with its link. Called in the event loop, never again after `lost`."""

    def hello(self) -> link_pb2.Hello:
        """How to introduce itself; asked again at every dial."""

    def welcomed(self, welcome: link_pb2.Welcome) -> None:
        """The router accepted; from now on `LinkClient.send` reaches it."""

    def received(self, envelope: link_pb2.Envelope, payload: memoryview) -> None:
        """A frame other than Welcome and Goodbye; a router's Heartbeat has been answered. May raise LinkError to cut
        the connection."""

    def lost(self, reason: str) -> None:
        """A connection that had been welcomed is gone; `run` dials again."""


class LinkClient:
    """`max_delay_s` bounds the wait between two dials, `silence_s` how long a router may say nothing; one whose
    heartbeats are further apart may be silent for four of them."""

    def __init__(
        self,
        address: str,
        peer: Peer,
        random: Random,
        *,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
        max_delay_s: float = 2.0,
        silence_s: float = 30.0,
        woke: Woke = never,
    ) -> None:
        """`woke` is called whenever bytes arrive, before anything else."""
        self._kind, self._host, self._port = parse_address(address)
        self.address = address
        self._peer = peer
        self._random = random
        self._max_frame_bytes = max_frame_bytes
        self._woke = woke
        self._max_delay_s = max_delay_s
        self._silence_s = silence_s
        self._connection: _Connection | None = None

    @property
    def connected(self) -> bool:
        """Whether the router has welcomed us."""
        return self._connection is not None and self._connection.welcomed

    def send(self, envelope: link_pb2.Envelope, payloads: Sequence[bytes] = ()) -> bool:
        """Write a frame; False if there is no welcomed connection to write it to."""
        if self._connection is None or not self._connection.welcomed:
            return False
        self._connection.write(envelope, payloads)
        return True

    async def run(self) -> None:
        """Keep the link up until cancelled; cancelling closes the connection after what was sent is written."""
        loop = asyncio.get_running_loop()
        delay_s = _FIRST_DELAY_S
        refusal = (0, "")
        expected_until = 0.0
        while True:
            reason, welcomed = await self._connect_once()
            if welcomed:
                delay_s = _FIRST_DELAY_S
                expected_until = loop.time() + _RETURN_S if reason.startswith(_GOODBYE) else 0.0
            level = logging.INFO if loop.time() < expected_until else logging.WARNING
            if (level, reason) != refusal:  # a router that is away for an hour is two lines, not thousands
                _log.log(level, "link lost", extra={"router": self.address, "reason": reason})
                refusal = (level, reason)
            await asyncio.sleep(delay_s * self._random.uniform(0.5, 1.0))
            delay_s = min(delay_s * 2, self._max_delay_s)

    async def _connect_once(self) -> tuple[str, bool]:
        """One connection from dial to end: why it ended, and whether it ever worked."""
        try:
            connection = await asyncio.wait_for(self._dial(), self._silence_s)
        except (OSError, TimeoutError) as error:
            self._connection = None
            return f"cannot connect: {error or 'timed out'}", False
        try:
            reason = await self._watch(connection)
        finally:
            self._connection = None
            connection.close()
        if connection.welcomed:
            self._peer.lost(reason)
        return reason, connection.welcomed

    async def _dial(self) -> "_Connection":
        loop = asyncio.get_running_loop()

        def protocol() -> _Connection:
            # Known before the dial returns: a router's Welcome may be answered with frames in that very turn.
            self._connection = connection = _Connection(self._peer, self._max_frame_bytes, self._woke)
            return connection

        if self._kind == "unix":
            _, connection = await loop.create_unix_connection(protocol, self._host)
        else:
            _, connection = await loop.create_connection(protocol, self._host, self._port)
        return connection

    async def _watch(self, connection: "_Connection") -> str:
        """Until the connection ends, or says nothing for too long."""
        while True:
            connection.heard = False
            patience_s = max(self._silence_s, _SILENT_BEATS * connection.heartbeat_interval_s)
            done, _ = await asyncio.wait([connection.ended], timeout=patience_s)
            if done:
                return connection.ended.result()
            if not connection.heard:
                stalled = ", it stalls within a frame" if connection.stalled else ""
                return f"the router said nothing for {patience_s:g} s{stalled}"


class _Connection(asyncio.BufferedProtocol):
    def __init__(self, peer: Peer, max_frame_bytes: int, woke: Woke) -> None:
        self._woke = woke
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.welcomed = False
        self.heard = False
        self.heartbeat_interval_s = 0.0
        """As the router said in its Welcome; 0 before that."""
        self._peer = peer
        self._frames = Receiver(max_frame_bytes)
        self._transport: asyncio.Transport | None = None

    @property
    def stalled(self) -> bool:
        """Whether a frame has begun to come, and not ended."""
        return bool(self._frames.pending)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are like it, but do not inherit from it
        widen(transport)
        self.write(link_pb2.Envelope(hello=self._peer.hello()))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's name
        return self._frames.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        self._woke()
        try:
            for envelope, payload in self._frames.filled(nbytes):
                self.heard = True  # not at every byte: who stalls within a frame can say nothing else
                self._frame(envelope, payload)
        except LinkError as error:
            self.write(link_pb2.Envelope(goodbye=link_pb2.Goodbye(reason=str(error))))
            self._end(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(str(exc) if exc else "the router closed the connection")

    def write(self, envelope: link_pb2.Envelope, payloads: Sequence[bytes] = ()) -> None:
        if self._transport is not None and not self.ended.done():
            self._transport.writelines(encode(envelope, payloads))

    def close(self) -> None:
        self._end("closed here")

    def _frame(self, envelope: link_pb2.Envelope, payload: memoryview) -> None:
        if self.ended.done():
            return
        kind = envelope.WhichOneof("frame")
        if kind == "heartbeat":
            if not envelope.heartbeat.reply:
                reply = link_pb2.Heartbeat(sequence=envelope.heartbeat.sequence, reply=True)
                self.write(link_pb2.Envelope(heartbeat=reply))
                if self.welcomed:
                    self._peer.received(envelope, payload)
        elif kind == "goodbye":
            self._end(f"{_GOODBYE}{envelope.goodbye.reason}")
        elif kind == "welcome":
            self.welcomed = True
            self.heartbeat_interval_s = envelope.welcome.heartbeat_interval_s
            self._peer.welcomed(envelope.welcome)
        elif self.welcomed:
            self._peer.received(envelope, payload)

    def _end(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)
            if self._transport is not None:
                self._transport.close()
