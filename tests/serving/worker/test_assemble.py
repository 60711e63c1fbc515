import numpy as np
import pytest

from serving.spec import Signature, TensorSpec
from serving.worker.assemble import Assembler, zeros
from serving.worker.decode import Decoder
from serving.worker.request import DecodedRequest
from tests.serving.worker.requests import Array, request, rows, texts

BIG = Signature((TensorSpec("x", "FP32", (100_000,)),), ())


def decoded(signature: Signature, *inputs: dict[str, Array]) -> list[DecodedRequest]:
    decoder = Decoder(signature, max_batch_rows=1000)
    return [decoder.decode(request(arrays).SerializeToString()) for arrays in inputs]


def test_rows_in_the_order_of_the_requests() -> None:
    """Requests of several rows stand one after the other; every input has its own array."""
    signature = Signature((TensorSpec("x", "FP32", (3,)), TensorSpec("t", "BYTES", ())), ())
    parts = [
        {"x": rows(2), "t": texts(b"a", b"b")},
        {"x": rows(1, start=50), "t": texts(b"c")},
    ]
    batch = Assembler(signature).batch(decoded(signature, *parts))
    assert np.array_equal(batch["x"], np.concatenate([part["x"] for part in parts]))
    assert batch["t"].tolist() == [b"a", b"b", b"c"]
    assert (batch["x"].dtype, batch["x"].shape) == (np.float32, (3, 3))


@pytest.mark.parametrize("signature", [Signature((TensorSpec("x", "FP32", (3,)),), ()), BIG])
def test_arrays_are_writable_and_belong_to_nobody(signature: Signature) -> None:
    """A model may change its input in place; the request stays as it was."""
    width = signature.inputs[0].shape[0]
    (one,) = decoded(signature, {"x": np.ones((1, width), np.float32)})
    batch = Assembler(signature).batch([one])
    batch["x"][:] = 9
    assert batch["x"].flags.c_contiguous
    assert one.parts == (np.ones((1, width), np.float32).tobytes(),)


def test_large_batches_reuse_one_buffer() -> None:
    """Batches above the threshold share memory from run to run, also when they grow and shrink."""
    assembler = Assembler(BIG)
    requests = decoded(BIG, *[{"x": np.full((1, 100_000), value, np.float32)} for value in range(3)])
    largest = assembler.batch(requests)["x"]
    smaller = assembler.batch(requests[1:])["x"]
    assert np.shares_memory(largest, smaller)
    assert smaller[:, 0].tolist() == [1, 2]
    assert smaller.shape == (2, 100_000)


def test_open_extents_come_from_the_requests() -> None:
    """Requests of one group share the shape that the signature leaves open."""
    signature = Signature((TensorSpec("x", "INT64", (-1, 2)),), ())
    batch = Assembler(signature).batch(decoded(signature, *[{"x": np.ones((2, 3, 2), np.int64)}] * 2))
    assert batch["x"].shape == (4, 3, 2)


def test_no_elements_still_have_rows() -> None:
    """An open extent of zero makes rows that cannot be counted in the bytes."""
    signature = Signature((TensorSpec("x", "FP32", (-1,)),), ())
    batch = Assembler(signature).batch(decoded(signature, *[{"x": np.ones((2, 0), np.float32)}] * 3))
    assert batch["x"].shape == (6, 0)


def test_without_a_batch_the_shape_is_the_requests() -> None:
    """Scalars and whole tensors are passed as they came."""
    signature = Signature((TensorSpec("s", "FP64", ()), TensorSpec("x", "FP32", (-1, 2))), (), False)
    arrays = {"s": np.array(2.5), "x": rows(3, 2)}
    batch = Assembler(signature).batch(decoded(signature, arrays))
    assert batch["s"].shape == ()
    assert np.array_equal(batch["x"], arrays["x"])


def test_zeros_for_warming_up() -> None:
    """Open extents are 1, texts are empty, rows only where batched."""
    assert zeros(TensorSpec("x", "FP32", (-1, 2)), 3, batched=True).shape == (3, 1, 2)
    assert zeros(TensorSpec("x", "FP32", (-1, 2)), 3, batched=False).shape == (1, 2)
    assert zeros(TensorSpec("t", "BYTES", ()), 2, batched=True).tolist() == [b"", b""]
