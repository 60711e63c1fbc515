"""Random sequences of frames, good and bad, against python-hyper's h2 (tests/router/http2/differential.py)."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from router.http2 import frames
from tests.router.http2.differential import LIMITS, Ours, Step, disagreement
from tests.router.http2.fuzz import sequence
from tests.router.http2.wire import make

IDS = st.sampled_from([1, 1, 3, 3, 5, 7, 9, 0, 2])
MESSAGES = st.sampled_from([b"", b"m", b"x" * 300])
END = st.sampled_from([0, frames.END_STREAM])
INCREMENTS = st.sampled_from([0, 1, 1000, 2**31 - 1])
EXTRA = st.sampled_from(
    [(), (("x-a", "1"),), (("grpc-timeout", "1S"),), (("X-Upper", "1"),), (("connection", "x"),), ((":path", "/b"),)]
)
STEPS = st.one_of(
    st.tuples(st.just("open"), IDS, END, EXTRA),
    st.tuples(st.just("open"), st.sampled_from([1, 3, 5, 7]), END, st.just(())),
    st.tuples(st.just("split"), IDS, END, st.integers(0, 30)),
    st.tuples(st.just("data"), IDS, END, MESSAGES, st.sampled_from([None, 0, 7])),
    st.tuples(st.just("empty"), IDS, END),
    st.tuples(st.just("trailers"), IDS, END),
    st.tuples(st.just("reset"), IDS),
    st.tuples(st.just("window"), IDS, INCREMENTS),
    st.tuples(st.just("settings"), st.sampled_from([3, 4, 5, 6, 99]), st.sampled_from([0, 1, 16_384, 70_000, 2**31])),
    st.tuples(st.just("ping"), st.sampled_from([0, 3]), st.sampled_from([8, 8, 8, 7])),
    st.tuples(st.just("priority"), IDS),
    # DATA is left to the steps above, which keep to gRPC's framing; 10 is ALTSVC, which h2 knows and we need not.
    st.tuples(st.just("raw"), st.sampled_from([*range(1, 10), 0x42]), st.integers(0, 255), IDS, st.binary(max_size=12)),
)


@settings(max_examples=400, deadline=None, database=None, derandomize=True)
@given(st.lists(STEPS, max_size=25))
def test_we_take_what_h2_takes(steps: list[Step]) -> None:
    """Frame by frame the same outcome, until one of the two has given up the connection."""
    assert not disagreement(steps)


def test_the_oracle_sees_a_difference() -> None:
    """A front that refuses one stream too early is found within a few hundred sequences."""
    early = replace(LIMITS, max_streams=5)
    assert any(disagreement(*sequence(seed), Ours(early)) for seed in range(300))


def test_the_sequences_of_make_fuzz() -> None:
    """The first few of those that `make fuzz` runs by the million."""
    for seed in range(300):
        assert not disagreement(*sequence(seed)), f"seed {seed}"


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(st.binary(max_size=200), st.booleans())
def test_garbage_never_raises(sent: bytes, greeted: bool) -> None:
    """Whatever comes, `receive` returns and bytes to send can be taken."""
    connection, _ = make()
    if greeted:
        connection.receive(frames.PREFACE + frames.settings({}), 0.0)
    connection.receive(sent, 0.0)
    connection.take()
