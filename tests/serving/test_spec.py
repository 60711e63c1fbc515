import itertools

import pytest

from serving.spec import in_order, next_version, version_key


@pytest.mark.parametrize(
    "ordered",
    [
        ["1", "2", "10"],
        ["2023-12-31", "2024-01-02", "2024-01-31", "2024-02-01"],
        ["v1.9", "v1.10", "v2"],
        ["1.0.0-alpha", "1.0.0-rc1", "1.0.0-rc2", "1.0.0", "1.0.1", "1.1"],
        ["test", "v1", "1", "2"],
        ["20240131", "20240131-b2", "20240201"],
        ["01", "1", "2"],
        ["2.0-rc1", "2.0"],
        ["test", "3"],
    ],
)
def test_versions_sort_as_people_read_them(ordered: list[str]) -> None:
    """Any order of arrival gives the same, natural order."""
    for arrival in itertools.islice(itertools.permutations(ordered), 120):
        assert in_order(arrival) == ordered


def test_keys_of_different_versions_differ() -> None:
    """The order is total, so that the newest version never depends on how a folder was listed."""
    assert version_key("1") != version_key("01")


def test_the_next_version_follows_the_greatest_integer() -> None:
    """Names that are no integers do not count, and gaps are not filled."""
    assert next_version([]) == "1"
    assert next_version(["1", "10", "canary", "2024-01-31", ".publishing-x"]) == "11"
