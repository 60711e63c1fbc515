"""The router's end of a link, for agents under test: welcomes, records the index, sends wishes."""

import asyncio
from pathlib import Path

from protos import link_pb2
from serving.link.framing import PROTOCOL_VERSION, FrameReader, encode


class FakeRouter:
    def __init__(self, path: Path, *, heartbeat_interval_s: float = 1.0) -> None:
        self.address = f"unix:{path}"
        self.hellos: list[link_pb2.Hello] = []
        self.frames: list[link_pb2.Envelope] = []
        self._path = path
        self._heartbeat_interval_s = heartbeat_interval_s
        self._news = asyncio.Condition()
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "FakeRouter":
        self._server = await asyncio.start_unix_server(self._serve, self._path)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hang_up()
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def hang_up(self, reason: str = "") -> None:
        """End every connection; with a reason, say it first."""
        writers, self._writers = self._writers, []
        for writer in writers:
            if reason:
                writer.writelines(encode(link_pb2.Envelope(goodbye=link_pb2.Goodbye(reason=reason))))
            writer.close()

    def send(self, envelope: link_pb2.Envelope) -> None:
        self._writers[-1].writelines(encode(envelope))

    def send_raw(self, raw: bytes) -> None:
        self._writers[-1].write(raw)

    def states(self) -> dict[str, str]:
        """Of the last index that came: "name/version" -> state."""
        indexes = [frame.index for frame in self.frames if frame.WhichOneof("frame") == "index"]
        entries = indexes[-1].entries if indexes else []
        return {
            f"{entry.name}/{entry.version}": link_pb2.State.Name(entry.state).removeprefix("STATE_")
            for entry in entries
        }

    def of(self, kind: str) -> list[object]:
        return [getattr(frame, kind) for frame in self.frames if frame.WhichOneof("frame") == kind]

    async def until(self, condition, timeout_s: float = 15.0) -> None:
        """Returns once `condition()` holds; it is asked after every frame and connection."""
        async with self._news:
            await asyncio.wait_for(self._news.wait_for(condition), timeout_s)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = FrameReader()
        self._writers.append(writer)
        try:
            while received := await reader.read(65536):
                for envelope, _ in frames.feed(received):
                    await self._frame(envelope, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _frame(self, envelope: link_pb2.Envelope, writer: asyncio.StreamWriter) -> None:
        async with self._news:
            if envelope.WhichOneof("frame") == "hello":
                self.hellos.append(envelope.hello)
                welcome = link_pb2.Welcome(
                    protocol_version=PROTOCOL_VERSION,
                    router="fake",
                    heartbeat_interval_s=self._heartbeat_interval_s,
                )
                writer.writelines(encode(link_pb2.Envelope(welcome=welcome)))
            else:
                self.frames.append(envelope)
            self._news.notify_all()
