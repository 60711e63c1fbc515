"""Frames of the link: whole however they are cut, and nothing but frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos import link_pb2
from serving.link.framing import FrameReader, LinkError, cut, encode, portions


def frame(parts: list[bytes]) -> bytes:
    work = link_pb2.Work(ids=range(len(parts)), sizes=[len(part) for part in parts])
    return b"".join(encode(link_pb2.Envelope(work=work), parts))


@given(st.lists(st.lists(st.binary(max_size=40), max_size=4), max_size=6), st.lists(st.integers(1, 200), min_size=1))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(frames: list[list[bytes]], steps: list[int]) -> None:
    """Every division of the byte stream gives the same frames in the same order."""
    stream = b"".join(map(frame, frames))
    reader = FrameReader()
    seen: list[list[bytes]] = []
    position = turn = 0
    while position < len(stream):
        step = steps[turn % len(steps)]
        for envelope, payload in reader.feed(stream[position : position + step]):
            seen.append(cut(payload, envelope.work.sizes))
        position += step
        turn += 1
    assert seen == frames


def test_limit_is_checked_on_the_first_bytes() -> None:
    """A peer cannot make us collect a frame that we would refuse."""
    reader = FrameReader(max_frame_bytes=1000)
    with pytest.raises(LinkError, match=r"frame of 1001 bytes is above link\.max_frame_bytes = 1000"):
        list(reader.feed((1001).to_bytes(4, "little") + bytes(4)))


@pytest.mark.parametrize(
    ("head", "text"),
    [
        ((8, 5), "envelope of 5 bytes does not fit its frame of 8"),
        ((2, 0), "envelope of 0 bytes does not fit its frame of 2"),
    ],
)
def test_envelope_must_fit_its_frame(head: tuple[int, int], text: str) -> None:
    """Lengths that contradict each other end the link."""
    with pytest.raises(LinkError, match=text):
        list(FrameReader().feed(head[0].to_bytes(4, "little") + head[1].to_bytes(4, "little") + bytes(16)))


def test_garbage_envelope() -> None:
    """Bytes that are no protobuf end the link."""
    with pytest.raises(LinkError, match="no link envelope"):
        list(FrameReader().feed(bytes([8, 0, 0, 0, 4, 0, 0, 0, 255, 255, 255, 255])))


def test_payload_must_be_what_the_sizes_say() -> None:
    """Neither too short nor too long."""
    with pytest.raises(LinkError, match="payload of 3 bytes, sizes add up to 4"):
        cut(memoryview(b"abc"), [2, 2])


def test_large_frame_in_small_pieces_costs_one_join() -> None:
    """A frame of 8 MB in 4 kB pieces comes out whole."""
    part = bytes(range(256)) * 32768
    stream = frame([part])
    reader = FrameReader()
    out = [bytes(p) for at in range(0, len(stream), 4096) for _, p in reader.feed(stream[at : at + 4096])]
    assert out == [part]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], [(0, 0)]),
        ([100], [(0, 1)]),
        ([976, 976], [(0, 2)]),
        ([976, 977], [(0, 1), (1, 2)]),
        ([5000, 10, 10], [(0, 1), (1, 3)]),
        ([800, 800, 800, 800], [(0, 2), (2, 4)]),
    ],
)
def test_portions_fit_a_frame_with_their_columns(sizes: list[int], expected: list[tuple[int, int]]) -> None:
    """Neighbours share a frame while they fit; one that is too large stands alone."""
    assert portions(sizes, 4000) == expected
