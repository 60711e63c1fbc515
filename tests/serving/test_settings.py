"""Settings refuse what they do not know, and say how to mend it."""

import pytest

from serving.errors import ConfigurationError
from serving.settings import Settings, validate


class Inner(Settings):
    max_rows: int = 4
    """Rows."""


class Strict(Settings):
    framework: str


class Outer(Settings):
    name: str = "x"
    inner: Inner = Inner()
    parts: tuple[Inner, ...] = ()


def refusal(values: dict[str, object]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        validate(Outer, values, where="top")
    return str(caught.value)


def test_good_values() -> None:
    """What is missing has its default."""
    assert validate(Outer, {"inner": {"max_rows": 7}}) == Outer(inner=Inner(max_rows=7))


def test_unknown_key_gets_a_suggestion() -> None:
    """Most unknown keys are typing mistakes."""
    assert refusal({"nmae": "y"}) == "top.nmae: unknown key; did you mean 'name'?"
    assert refusal({"inner": {"max_row": 7}}) == "top.inner.max_row: unknown key; did you mean 'max_rows'?"
    assert refusal({"parts": [{"maxrows": 7}]}) == "top.parts.0.maxrows: unknown key; did you mean 'max_rows'?"


def test_misspelt_key_is_reported_before_the_one_it_leaves_missing() -> None:
    """What the user wrote is what they can mend."""
    with pytest.raises(ConfigurationError, match="framwork: unknown key; did you mean 'framework'"):
        validate(Strict, {"framwork": "onnx"})


def test_unknown_key_like_nothing_gets_the_list() -> None:
    """Where no key is near, all are named."""
    assert refusal({"zzz": 1}) == "top.zzz: unknown key; known keys: inner, name, parts"


def test_wrong_value_is_shown_with_its_path() -> None:
    """The path leads to the key, the value is quoted, cut where it is long."""
    assert refusal({"inner": {"max_rows": "many"}}).startswith("top.inner.max_rows: Input should be a valid integer")
    assert refusal({"inner": {"max_rows": "many"}}).endswith("got 'many'")
    assert len(refusal({"name": ["y" * 1000]})) < 200
