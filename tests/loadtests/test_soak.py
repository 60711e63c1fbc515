"""The soak's own judgement: would it notice what it is there to notice?"""

import struct

import numpy as np
import psutil

from loadtests.soak import Watch
from loadtests.soak_caller import Call, Questions, wrong
from protos import inference_pb2


def answered(call: Call, by: Call) -> Call:
    """`call` with the echo of the question `by`."""
    reply = inference_pb2.ModelInferResponse(id=by.name.decode(), raw_output_contents=[by.tensor])
    body = reply.SerializeToString()
    call.body = struct.pack(">BI", 0, len(body)) + body
    return call


def test_questions_are_requests_of_their_own() -> None:
    """Each parses, has its number for id and throughout its tensor, and differs from all others."""
    questions = Questions(2**40)
    seen = set()
    for number in range(2**40, 2**40 + 300):
        message, name, tensor = questions.next()
        request = inference_pb2.ModelInferRequest.FromString(message[5:])
        assert struct.unpack(">BI", message[:5]) == (0, len(message) - 5)
        assert (request.id, name, list(request.raw_input_contents)) == (str(number), str(number).encode(), [tensor])
        assert set(np.frombuffer(tensor, "<u8")) == {number}
        assert len(tensor) == 4 * int(np.prod(request.inputs[0].shape))
        seen.add(tensor)
    assert len(seen) == 300


def test_another_calls_answer_is_a_fault() -> None:
    """The right one is none; a swapped id, a swapped tensor and a cut answer each are."""
    questions = Questions(1)
    mine, other = Call(*questions.next()), Call(*questions.next())
    assert wrong(answered(mine, mine)) == ""
    assert "answered 2" in wrong(answered(mine, other))
    assert "the tensor" in wrong(answered(mine, Call(b"", mine.name, other.tensor)))
    answered(mine, mine).body = mine.body[:-1]
    assert "its prefix says" in wrong(mine)


def test_the_trend_sees_a_leak_through_noise() -> None:
    """A hundred bytes a request over a million requests, beneath a sawtooth of ten megabytes."""
    watch = Watch(psutil.Process())
    watch.done = [step * 10_000 for step in range(101)]
    steady = [80_000_000 + step % 7 * 1_500_000 for step in range(101)]
    leaking = [value + 100 * done for value, done in zip(steady, watch.done, strict=True)]
    assert abs(watch.growth(steady)) < 2_000_000
    assert 60_000_000 < watch.growth(leaking) < 75_000_000
