from hypothesis import given
from hypothesis import strategies as st

from serving.policy.fastest import ALWAYS, NEVER, Timing, is_compiled, ranges_text, switches

US = 1e-6
MEASURED = [(1, 21, 6), (8, 30, 8), (32, 43, 15), (128, 110, 70), (256, 190, 330), (512, 343, 563)]


def timings(*measured: tuple[int, float, float]) -> list[Timing]:
    return [Timing(rows, native * US, compiled * US) for rows, native, compiled in measured]


def test_small_batches_compiled_large_ones_native() -> None:
    """Figures as measured: the change comes where the lines between two sizes cross."""
    found = switches(timings(*MEASURED))
    assert found == (0, 157)
    assert [is_compiled(found, rows) for rows in (1, 156, 157, 10_000)] == [True, True, False, False]
    assert ranges_text(found, "xgboost", "onnxruntime") == "onnxruntime for 1-156 rows, xgboost from 157"


def test_nearly_equal_is_no_reason_to_change() -> None:
    """Within the margin nothing changes, in either direction, so noise makes no ranges."""
    assert switches(timings((1, 10, 9.5), (2, 10, 9.1), (4, 10, 10.5))) == NEVER
    assert switches(timings((1, 10, 8), (2, 10, 10.5), (4, 10, 9), (8, 10, 10.9))) == ALWAYS


def test_compiled_may_be_the_faster_one_for_large_batches() -> None:
    """Ranges begin anywhere."""
    found = switches(timings((1, 5, 8), (64, 100, 50)))
    assert ranges_text(found, "xgboost", "onnxruntime") == "xgboost for 1-4 rows, onnxruntime from 5"


def test_without_timings_nothing_is_compiled() -> None:
    """No evidence, no change; forced is for all rows."""
    assert switches([]) == NEVER
    assert ranges_text(NEVER, "xgboost", "onnxruntime") == "xgboost for all rows"
    assert ranges_text(ALWAYS, "xgboost", "onnxruntime") == "onnxruntime for all rows"


costs = st.floats(1, 1e6)


@given(st.lists(st.tuples(costs, costs), max_size=12))
def test_never_much_slower_than_the_other_way(measured: list[tuple[float, float]]) -> None:
    """At every measured size the choice is within the margin of the faster way; changes lie between sizes, ascending;
    asked twice the answer is the same."""
    given_timings = timings(*[(2**index, *pair) for index, pair in enumerate(measured)])
    found = switches(given_timings)
    assert found == switches(given_timings)
    assert list(found) == sorted(set(found))
    for timing in given_timings:
        chosen, other = (timing.native_s, timing.compiled_s)[:: -1 if is_compiled(found, timing.rows) else 1]
        assert chosen * 0.9 <= other * (1 + 1e-9)
