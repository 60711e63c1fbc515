import numpy as np
import pytest

from serving.worker.classes import top_classes


def test_best_first_and_equal_ones_in_order() -> None:
    """Equal values keep the order of their indices."""
    values = np.array([[0.25, 0.5, 0.25]], np.float32)
    assert top_classes(values, 3).tolist() == [[b"0.500000:1", b"0.250000:0", b"0.250000:2"]]


def test_more_classes_than_there_are() -> None:
    """Asking for too many gives all of them."""
    assert top_classes(np.array([[1, 2]]), 10).shape == (1, 2)


def test_labels_name_what_they_cover() -> None:
    """Indices without a label are written without one."""
    assert top_classes(np.array([[2.0, 1.0]]), 2, ("only",)).tolist() == [[b"2.000000:0:only", b"1.000000:1"]]


@pytest.mark.parametrize("dtype", [np.uint64, np.int64, np.int8])
def test_integers_are_written_and_ordered_exactly(dtype: type) -> None:
    """Large integers lose no digit, unsigned ones do not wrap."""
    top = np.iinfo(dtype).max
    values = np.array([[0, top, top - 1]], dtype)
    assert top_classes(values, 2).tolist() == [[f"{top}:1".encode(), f"{top - 1}:2".encode()]]


def test_nan_comes_last() -> None:
    """A value that is no number is never the best class."""
    assert top_classes(np.array([[np.nan, -1.0]]), 1).tolist() == [[b"-1.000000:1"]]


def test_all_dimensions_of_a_row_are_classes() -> None:
    """A matrix per row is read row by row."""
    assert top_classes(np.array([[[1, 2], [9, 3]]]), 1).tolist() == [[b"9:2"]]
