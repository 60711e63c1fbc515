import gc
import os
from pathlib import Path

import pytest

from protos import inference_pb2
from serving.errors import InvalidRequest, RegionNotFound, Unimplemented
from serving.shared_memory.regions import BYTE_SIZE, OFFSET, REGION, Regions, Span
from tests.serving.shared_memory.objects import Memory, parameters


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path)


def span(memory: Memory, region: str, size: int, offset: int = 0) -> Span:
    found = memory.regions.span_of(parameters(region, size, offset), "inputs[0]")
    assert found is not None
    return found


def open_descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def test_reads_and_writes_what_the_caller_sees(memory: Memory) -> None:
    """Offsets count from the region's own, and what is written stands in the caller's object."""
    path = memory.create("object", b"0123456789")
    memory.registry.register("r", "/object", 2, 8)
    assert span(memory, "r", 3, 1).read() == b"345"
    span(memory, "r", 4, 4).write(b"ab")
    assert path.read_bytes() == b"012345ab89"


def test_a_tensor_may_be_elsewhere(memory: Memory) -> None:
    """Without the parameters there is no span."""
    assert memory.regions.span_of(inference_pb2.ModelInferRequest().parameters, "inputs[0]") is None


@pytest.mark.parametrize(
    ("region", "size", "offset", "text"),
    [
        ("r", 9, 0, "9 bytes from offset 0, but region 'r' has 8; send a range inside the region"),
        ("r", 8, 1, "8 bytes from offset 1, but region 'r' has 8"),
        ("r", 2**62, 2**62, "but region 'r' has 8"),
        ("r", -1, 0, "shared_memory_byte_size: not a whole number"),
        ("r", 1, -1, "shared_memory_offset: not a whole number"),
    ],
)
def test_ranges_stay_inside(memory: Memory, region: str, size: int, offset: int, text: str) -> None:
    """The parameter of the tensor is named."""
    memory.region("r", bytes(8))
    with pytest.raises(InvalidRequest, match=rf"inputs\[0\]\.parameters\..*{text}"):
        span(memory, region, size, offset)


def test_parameters_come_together(memory: Memory) -> None:
    """A region without a size, or a size without a region, is no place; a size is a number."""
    only = inference_pb2.ModelInferRequest()
    only.parameters[REGION].string_param = "r"
    with pytest.raises(InvalidRequest, match=f"{BYTE_SIZE}: is missing"):
        memory.regions.span_of(only.parameters, "inputs[0]")
    only.parameters[BYTE_SIZE].string_param = "8"
    with pytest.raises(InvalidRequest, match=f"{BYTE_SIZE}: not a whole number"):
        memory.regions.span_of(only.parameters, "inputs[0]")
    del only.parameters[REGION]
    with pytest.raises(InvalidRequest, match=f"{REGION}: is missing"):
        memory.regions.span_of(only.parameters, "inputs[0]")
    assert OFFSET not in only.parameters


def test_who_has_no_such_region(memory: Memory) -> None:
    """Off, unknown, and out of reach are told apart."""
    with pytest.raises(Unimplemented, match=r"router\.shared_memory\.enabled: true"):
        Regions().span_of(parameters("r", 8), "inputs[0]")
    with pytest.raises(RegionNotFound, match=r"inputs\[0\].*no shared memory region 'r' is registered"):
        span(memory, "r", 8)
    elsewhere = Regions(str(memory.folder / "no-such-registry"), memory.folder)
    with pytest.raises(Unimplemented, match=r"another machine, or in a container.* give router, worker and caller"):
        elsewhere.span_of(parameters("r", 8), "inputs[0]")


def test_a_region_that_was_made_shorter(memory: Memory) -> None:
    """The next reader and writer are told, where a mapping would have killed the process; the file is not extended."""
    path = memory.region("r", bytes(8192))
    found = span(memory, "r", 8192)
    os.truncate(path, 4096)
    with pytest.raises(InvalidRequest, match=r"shared memory region 'r' was made shorter after it was registered"):
        found.read()
    with pytest.raises(InvalidRequest, match="was made shorter"):
        found.write(bytes(8192))
    assert path.stat().st_size == 4096


def test_an_output_larger_than_its_place(memory: Memory) -> None:
    """The error says how much room it needs, and nothing is written."""
    path = memory.region("r", bytes(8))
    with pytest.raises(InvalidRequest, match=r"the output has 5 bytes, shared_memory_byte_size is 4;.* at least 5"):
        span(memory, "r", 4).write(b"abcde")
    assert path.read_bytes() == bytes(8)


def test_unregistered_while_in_use(memory: Memory) -> None:
    """A request that has begun ends well, the next is refused, and the memory is let go at the next sweep."""
    path = memory.region("r", b"12345678")
    before = open_descriptors()
    found = span(memory, "r", 8)
    memory.registry.unregister("r")
    path.unlink()
    assert found.read() == b"12345678"
    memory.regions.sweep()
    assert found.read() == b"12345678"
    del found
    assert open_descriptors() == before
    with pytest.raises(RegionNotFound):
        span(memory, "r", 8)


def test_a_name_registered_anew_is_the_new_region(memory: Memory) -> None:
    """Nobody reads the old object under it."""
    memory.region("r", b"old")
    assert span(memory, "r", 3).read() == b"old"
    memory.registry.unregister("r")
    memory.create("other", b"new")
    memory.registry.register("r", "/other", 0, 3)
    assert span(memory, "r", 3).read() == b"new"


def test_a_key_that_changed_hands(memory: Memory) -> None:
    """An object that was removed, and one made anew under its key, are not taken for the one that was registered."""
    path = memory.region("r", b"old")
    path.unlink()
    with pytest.raises(InvalidRequest, match=r"cannot be opened: no such file.*; unregister the region"):
        span(memory, "r", 3)
    memory.create("kept", b"")
    memory.create("r", b"new")
    with pytest.raises(InvalidRequest, match="key '/r' is another shared memory object than when region 'r' was"):
        span(memory, "r", 3)
