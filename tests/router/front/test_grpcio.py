"""The grpcio front's own decisions, without sockets; with them: tests/integration/test_grpcio_front.py."""

import asyncio
from typing import Any

import grpc
import pytest

from router.front.calls import Metadata, Unary, UnaryCall
from router.front.grpcio import _CODES, _Handlers
from router.http2.limits import Http2Limits
from router.http2.request import HeadReader
from serving.errors import DodonaError, Shed
from serving.status import Status


class Aborted(Exception):
    """What grpc's own abort raises, with what it was given."""

    def __init__(self, code: grpc.StatusCode, text: str, trailers: Metadata) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.trailers = trailers


class FakeContext:
    """The part of grpc.aio's context that the front uses."""

    def __init__(self, peer: str = "ipv4:127.0.0.1:5") -> None:
        self.initial: Metadata = ()
        self._peer = peer

    def invocation_metadata(self) -> None:
        return None

    def time_remaining(self) -> None:
        return None

    def peer(self) -> str:
        return self._peer

    async def send_initial_metadata(self, metadata: Metadata) -> None:
        self.initial = metadata

    async def abort(self, code: grpc.StatusCode, text: str, trailers: Metadata) -> None:
        raise Aborted(code, text, trailers)


class Details:
    def __init__(self, method: str) -> None:
        self.method = method
        self.invocation_metadata = ()


def aborted(start: Any, message: bytes = b"", path: str = "/a/B", context: FakeContext | None = None) -> Aborted:
    """How a unary call ends that fails."""
    handlers = _Handlers({"/a/B": Unary(start)}, max_message_bytes=10)
    handler = handlers.service(Details(path))  # type: ignore[arg-type]
    answer = handler.unary_unary or handler.stream_stream
    with pytest.raises(Aborted) as end:
        asyncio.run(answer(message, context or FakeContext()))
    return end.value


def test_every_status_has_a_code() -> None:
    """The numbers are gRPC's own."""
    assert {int(status): _CODES[int(status)].name for status in Status} == {int(one): one.name for one in Status}


def test_an_unknown_path_is_refused_with_the_text_of_the_other_front() -> None:
    """UNIMPLEMENTED, naming the path; both fronts say the same."""
    end = aborted(lambda call: None, path="/a/Nothing")
    assert end.code is grpc.StatusCode.UNIMPLEMENTED
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a/Nothing")]
    head = HeadReader({}, Http2Limits()).read([*fields, (b"content-type", b"application/grpc")])
    assert head.refusal is not None
    assert end.text.encode() in head.refusal.block


def test_a_retry_delay_goes_out_as_a_trailer() -> None:
    """Whole milliseconds, at least one."""

    def start(call: UnaryCall) -> None:
        raise Shed("too many", retry_after_s=0.0001)

    end = aborted(start)
    assert (end.code, end.text) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "too many")
    assert end.trailers == (("retry-after-ms", "1"),)


def test_a_long_text_is_cut_between_characters() -> None:
    """A client would drop trailers above its own limit, and the status with them."""

    def start(call: UnaryCall) -> None:
        raise DodonaError("ü" * 5000)

    text = aborted(start).text
    assert set(text) == {"ü"}
    assert len(text.encode()) == 4096


def test_both_directions_are_held_to_the_message_limit() -> None:
    """The text names the setting."""
    request = aborted(lambda call: call.reply(b""), message=b"x" * 11)
    reply = aborted(lambda call: call.reply(b"x" * 11))
    for end, what in ((request, "message of 11 bytes"), (reply, "reply of 11 bytes")):
        assert end.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert what in end.text
        assert "router.limits.max_message_bytes = 10" in end.text


def test_metadata_of_a_failure_is_in_the_trailers() -> None:
    """The request id comes back on errors too, where both fronts put it."""
    end = aborted(lambda call: call.fail(DodonaError("no", retry_after_s=1), (("x-request-id", "abc"),)))
    assert end.trailers == (("x-request-id", "abc"), ("retry-after-ms", "1000"))


@pytest.mark.parametrize(
    ("raw", "plain"), [("ipv4:127.0.0.1:5", "127.0.0.1:5"), ("ipv6:%5B::1%5D:5", "[::1]:5"), ("unix:", "")]
)
def test_the_peer_is_an_address(raw: str, plain: str) -> None:
    """Without gRPC's scheme and escapes, as logs want it."""
    peers = []

    def start(call: UnaryCall) -> None:
        peers.append(call.peer)
        raise DodonaError("enough")

    aborted(start, context=FakeContext(raw))
    assert peers == [plain]
