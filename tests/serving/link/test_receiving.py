"""Frames put where they stay: whole however they arrive, large ones ending aligned."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos import link_pb2
from serving.link.framing import LARGE_BYTES, LinkError, encode, pieces
from serving.link.receiving import ALIGNMENT, Receiver

SIZES = st.sampled_from([0, 1, 300, LARGE_BYTES - 1, LARGE_BYTES, LARGE_BYTES + 1, 3 * LARGE_BYTES])


def frame(parts: list[bytes]) -> bytes:
    work = link_pb2.Work(ids=range(len(parts)), sizes=[len(part) for part in parts])
    return b"".join(encode(link_pb2.Envelope(work=work), parts))


def taken(receiver: Receiver, stream: bytes, steps: list[int]) -> list[list[bytes | memoryview]]:
    """The parts of all frames, the stream read in steps of at most so many bytes."""
    seen: list[list[bytes | memoryview]] = []
    position = turn = 0
    while position < len(stream):
        buffer = receiver.buffer()
        count = min(steps[turn % len(steps)], len(buffer), len(stream) - position)
        buffer[:count] = stream[position : position + count]
        seen += [pieces(payload, envelope.work.sizes) for envelope, payload in receiver.filled(count)]
        position += count
        turn += 1
    return seen


@given(st.lists(st.lists(SIZES, max_size=4), max_size=4), st.lists(st.integers(1, 3 * LARGE_BYTES), min_size=1))
def test_frames_come_out_as_they_went_in(frames: list[list[int]], steps: list[int]) -> None:
    """Small and large ones in any order, however they are read, and none changes when the next comes."""
    sent = [[bytes([number + 1]) * size for number, size in enumerate(sizes)] for sizes in frames]
    steps.append(LARGE_BYTES)  # single bytes alone would take for ever
    assert taken(Receiver(), b"".join(map(frame, sent)), steps) == sent


def test_a_large_tensor_is_where_a_runtime_wants_it() -> None:
    """Its memory is its own, writable, and aligned where its size is a multiple of the alignment."""
    tensor = bytes(range(256)) * 2048
    ((part,),) = taken(Receiver(), frame([b"head" + tensor]), [50_000])
    assert isinstance(part, memoryview)
    view = part[4:]
    assert view == tensor
    assert not view.readonly
    assert np.frombuffer(view, np.uint8).ctypes.data % ALIGNMENT == 0


def test_small_parts_keep_no_large_frame_alive() -> None:
    """They are copied out of it."""
    ((small, large),) = taken(Receiver(), frame([b"small", bytes(LARGE_BYTES)]), [LARGE_BYTES])
    assert (type(small), type(large)) == (bytes, memoryview)


def test_limits_hold_before_memory_is_made() -> None:
    """A frame above the limit is refused by its head, and one that is no frame by its envelope."""
    receiver = Receiver(max_frame_bytes=1000)
    with pytest.raises(LinkError, match=r"frame of 1001 bytes is above link\.max_frame_bytes = 1000"):
        taken(receiver, (1001).to_bytes(4, "little") + bytes(4), [8])
    bad = (200_004).to_bytes(4, "little") + (200_000).to_bytes(4, "little") + b"\xff" * 200_000
    with pytest.raises(LinkError, match="frame holds no link envelope"):
        taken(Receiver(), bad, [70_000])
    with pytest.raises(LinkError, match="payload of 3 bytes, sizes add up to 4"):
        pieces(memoryview(b"abc"), [2, 2])
