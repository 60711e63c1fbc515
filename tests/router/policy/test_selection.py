"""Which version answers."""

import pytest

from router.policy.selection import choose_version

READY = {"1": True, "2": True, "10": True, "11": False}


@pytest.mark.parametrize(
    ("wanted", "labels", "expected"),
    [
        ("", {}, "10"),
        ("2", {}, "2"),
        ("11", {}, "11"),
        ("3", {}, None),
        ("", {"stable": "2"}, "2"),
        ("", {"stable": "11"}, "11"),
        ("", {"stable": "7"}, None),
        ("", {"canary": "2"}, "10"),
        ("canary", {"canary": "2"}, "2"),
        ("canary", {}, None),
        ("2", {"2": "1"}, "2"),
    ],
)
def test_explicit_then_label_then_newest_ready(wanted: str, labels: dict[str, str], expected: str | None) -> None:
    """An explicit version wins over a label of the same text, stable over newest, ready over unready."""
    assert choose_version(wanted, READY, labels) == expected


def test_newest_known_where_none_is_ready() -> None:
    """While everything loads, requests wait for the newest version."""
    assert choose_version("", {"2": False, "10": False}, {}) == "10"


def test_nothing_known() -> None:
    """Without versions there is nothing to choose."""
    assert choose_version("", {}, {}) is None
