"""YAML in which every key is there once."""

import pytest
import yaml

from serving.yaml_text import DuplicateKey, fault_of, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing", None),
        ("a: 1\nb: [x, {c: 2}]", {"a": 1, "b": ["x", {"c": 2}]}),
        ("a: &one {x: 1, y: 2}\nb:\n  <<: *one\n  x: 3", {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}}),
        (
            "a: &one {<<: {x: 0}, x: 1}\nb: {<<: *one, x: 3}\nc: {<<: *one}",
            {"a": {"x": 1}, "b": {"x": 3}, "c": {"x": 1}},
        ),
        ("1: a\n'1': b", {1: "a", "1": "b"}),
    ],
)
def test_what_is_there_once_is_read(text: str, value: object) -> None:
    """An override of a merged mapping is no twin, nor is a text that looks like a number."""
    assert parse_yaml(text) == value


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: 1\nb: 2\na: 3", "'a' is there twice, at line 1 and at line 3"),
        ("a: {b: 1, b: 2}", "'b' is there twice, at line 1 and at line 1"),
        ("a:\n- {b: 1}\n- b: 1\n  'b': 2", "'b' is there twice, at line 3 and at line 4"),
    ],
)
def test_a_key_that_is_there_twice_is_named_with_both_lines(text: str, fault: str) -> None:
    """YAML's own reader keeps the last without a word."""
    with pytest.raises(DuplicateKey) as caught:
        parse_yaml(text)
    assert fault_of(caught.value) == fault


def test_a_text_made_of_aliases_is_walked_once() -> None:
    """The billion-laughs text: every node is looked at once, however many paths lead to it."""
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]
    assert len(parse_yaml("\n".join(lines))) == 40


def test_other_faults_keep_their_line() -> None:
    """What is no YAML at all."""
    with pytest.raises(yaml.YAMLError) as caught:
        parse_yaml("a: b: c")
    assert fault_of(caught.value) == "not valid YAML at line 1"
