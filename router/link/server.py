"""The router's end of the link: sockets, Hello and Welcome, heartbeats. What peers say goes to `router.link.peers`."""

import asyncio
import hmac
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

from protos import link_pb2
from router.link.peers import Agent, Peers
from router.replica import Replica
from router.settings import Link
from serving.link.address import parse_address
from serving.link.buffers import widen
from serving.link.framing import PROTOCOL_VERSION, FrameReader, LinkError, encode
from serving.spinning import Woke, never

log = logging.getLogger(__name__)

_HELLO_TIMEOUT_S = 10.0
_LINGER_S = 5.0  # for the Goodbye to leave


class Connection(asyncio.Protocol):
    """One dialled-in peer. Nothing but Hello is accepted until it has presented itself."""

    def __init__(self, server: "LinkServer") -> None:
        self.peer: Replica | Agent | None = None
        self._server = server
        self._woke = server.woke
        self._reader = FrameReader(server.settings.max_frame_bytes)
        self._transport: asyncio.Transport | None = None
        self._heard_at = server.clock()
        self._closing = False
        self._beat = 0
        self._beat_sent_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it
        self._server.connections.add(self)
        widen(transport)
        self._timer = asyncio.get_running_loop().call_later(_HELLO_TIMEOUT_S, self._no_hello)

    def data_received(self, received: bytes) -> None:
        self._woke()
        try:
            for envelope, payload in self._reader.feed(received):
                if self._closing:
                    return
                # Not at every byte: who stalls within a frame can say nothing else, whatever trickles in.
                self._heard_at = self._server.clock()
                self._frame(envelope, payload)
        except LinkError as error:
            log.warning("link refused", extra={"peer": self.peer.name if self.peer else "", "reason": str(error)})
            self.close(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self._leave(str(exc or ""))

    def _leave(self, reason: str) -> None:
        peer, self.peer = self.peer, None
        if peer is not None:
            log.info("peer left", extra={"peer": peer.name, "reason": reason})
            self._server.peers.left(peer)

    # Frames.

    def write(self, buffers: Iterable[bytes | memoryview]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines(buffers)

    def close(self, reason: str) -> None:
        """Say why, then hang up. The peer counts as gone from now on, also where its end takes nothing any more."""
        self.write(encode(link_pb2.Envelope(goodbye=link_pb2.Goodbye(reason=reason))))
        self._closing = True
        if self._transport is not None:
            self._transport.close()
            asyncio.get_running_loop().call_later(_LINGER_S, self._transport.abort)
        self._leave(reason)

    def _frame(self, envelope: link_pb2.Envelope, payload: memoryview) -> None:
        frame = envelope.WhichOneof("frame")
        if self.peer is None:
            if frame != "hello":
                raise LinkError(f"expected hello, got {frame}")
            self._hello(envelope.hello)
        elif frame == "heartbeat":
            self._heartbeat(envelope.heartbeat)
        elif frame == "goodbye":
            log.info("peer says goodbye", extra={"peer": self.peer.name, "reason": envelope.goodbye.reason})
        elif frame is not None:  # None: a frame of a newer protocol, which we do not know and may ignore
            self._server.peers.heard(self.peer, envelope, payload)

    def _hello(self, hello: link_pb2.Hello) -> None:
        settings = self._server.settings
        if not hmac.compare_digest(hello.token.encode(), settings.token.get_secret_value().encode()):
            raise LinkError("wrong token: the worker's link token must equal router.link.token")
        if hello.protocol_version < 1 or not hello.name:
            raise LinkError("hello needs a name and a protocol version of at least 1")
        self._server.replace(hello.name)
        loop = asyncio.get_running_loop()
        if hello.role == link_pb2.ROLE_WORKER:
            self.peer = Replica(
                hello,
                write=self.write,
                soon=loop.call_soon,
                clock=self._server.clock,
                max_frame_bytes=settings.max_frame_bytes,
            )
        elif hello.role == link_pb2.ROLE_AGENT:
            self.peer = Agent(hello, self._server.clock())
        else:
            raise LinkError(f"unknown role {hello.role}")
        welcome = link_pb2.Welcome(
            protocol_version=min(hello.protocol_version, PROTOCOL_VERSION),
            router=self._server.name,
            heartbeat_interval_s=settings.heartbeat_interval_s,
            max_frame_bytes=settings.max_frame_bytes,
            shared_memory=self._server.shared_memory,
        )
        self.write(encode(link_pb2.Envelope(welcome=welcome)))
        log.info("peer joined", extra={"peer": hello.name, "framework": hello.framework, "peer_pid": hello.pid})
        self._server.peers.joined(self.peer, self.write)
        self._next_beat()

    def _no_hello(self) -> None:
        self.close(f"no hello within {_HELLO_TIMEOUT_S:g} s")

    # Heartbeats: the router asks, the peer answers with the same number.

    def _next_beat(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        interval = self._server.settings.heartbeat_interval_s
        self._timer = asyncio.get_running_loop().call_later(interval, self._ask)

    def _ask(self) -> None:
        now = self._server.clock()
        silent_s = now - self._heard_at
        if silent_s > self._server.settings.heartbeat_timeout_s:
            within = f", {self._reader.pending} bytes into a frame" if self._reader.pending else ""
            self.close(f"no whole frame for {silent_s:.1f} s{within}, router.link.heartbeat_timeout_s is over")
            return
        self._beat += 1
        self._beat_sent_at = now
        round_trip_us = min(int(self.peer.round_trip_s * 1e6), 0xFFFFFFFF) if self.peer is not None else 0
        beat = link_pb2.Heartbeat(sequence=self._beat, round_trip_us=round_trip_us)
        self.write(encode(link_pb2.Envelope(heartbeat=beat)))
        self._next_beat()

    def _heartbeat(self, beat: link_pb2.Heartbeat) -> None:
        if not beat.reply:
            answer = link_pb2.Heartbeat(sequence=beat.sequence, reply=True)
            self.write(encode(link_pb2.Envelope(heartbeat=answer)))
        elif beat.sequence == self._beat and self.peer is not None:
            self.peer.round_trip_s = self._server.clock() - self._beat_sent_at


class LinkServer:
    def __init__(
        self,
        name: str,
        settings: Link,
        peers: Peers,
        clock: Callable[[], float],
        shared_memory: str = "",
        *,
        woke: Woke = never,
    ) -> None:
        """`shared_memory`: what workers are told of it, see Welcome. `woke` is called whenever bytes arrive, before
        anything else."""
        self.shared_memory = shared_memory
        self.name = name
        self.settings = settings
        self.peers = peers
        self.clock = clock
        self.woke = woke
        self.connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._socket_path: Path | None = None

    async def start(self) -> str:
        """Listen; returns the address to dial. Raises OSError."""
        loop = asyncio.get_running_loop()
        address = self.settings.address
        kind, host, port = parse_address(address)
        if kind == "unix":
            path = _cleared(Path(host))
            before = os.umask(0o177)  # only this user may dial
            try:
                self._server = await loop.create_unix_server(lambda: Connection(self), str(path))
            finally:
                os.umask(before)
            self._socket_path = path
            return f"unix:{path}"
        self._server = await loop.create_server(lambda: Connection(self), host, port)
        bound = self._server.sockets[0].getsockname()
        return f"[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{bound[0]}:{bound[1]}"

    def replace(self, name: str) -> None:
        """A peer that dials again under its name (its old connection may be half dead) takes over from itself."""
        for connection in list(self.connections):
            if connection.peer is not None and connection.peer.name == name:
                connection.close("replaced by a newer connection of the same name")

    async def stop(self) -> None:
        """Hang up on everyone."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.close("this router is going away")
        if self._socket_path is not None:
            self._socket_path.unlink(missing_ok=True)


def _cleared(path: Path) -> Path:
    """The socket's path, free to bind: a router that was killed leaves its socket file behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return path
