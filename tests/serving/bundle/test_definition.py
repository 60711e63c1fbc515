from pathlib import Path

import pytest

from serving.bundle.definition import (
    MAX_DEFINITION_BYTES,
    Batching,
    ModelDefinition,
    TensorDefinition,
    definition_text,
    parse_definition,
    read_definition,
)
from serving.errors import BundleError

HEAD = "name: pets\nframework: onnx\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: a\nframework: onnx\ndevcie: cpu", "did you mean 'device'"),
        (HEAD + "batching: {max_batch_row: 3}", "batching.max_batch_row: unknown key; did you mean 'max_batch_rows'"),
        ("name: a/b\nframework: onnx", "model.yaml.name"),
        (HEAD + "file: ../secret", "model.yaml.file: must be a relative path"),
        (HEAD + "inputs: [{name: x, datatype: FLOAT}]", "unknown datatype, use one of BOOL"),
        (HEAD + "inputs: [{name: x, datatype: FP32}, {name: x, datatype: FP32}]", "more than one tensor is called x"),
        (HEAD + "inputs: [{name: x, datatype: FP32, shape: [2], columns: [a]}]", "1 columns for 2 elements"),
        (HEAD + "labels: {stable: 1.10}", 'put the version in quotes: "1.1"'),
        (HEAD + "device: gpu", "model.yaml.device: is no device; use auto, cpu or cuda:N"),
        ("name: my model\nframework: onnx", "model.yaml.name: is no name; use letters, digits"),
        ("- a list", "must be a mapping"),
        (
            HEAD + "labels: {stable: 1}\ndevice: cpu\nlabels: {stable: 2}",
            "'labels' is there twice, at line 3 and at line 5",
        ),
        ("name: [", "not valid YAML at line"),
        (HEAD + "a: &x [*x]", "unknown key"),
        ("&a [" * 5000, "not valid YAML"),
    ],
)
def test_mistakes_are_named_with_the_remedy(text: str, expected: str) -> None:
    """Each wrong model.yaml is refused as a whole, by the key's full path."""
    with pytest.raises(BundleError) as caught:
        parse_definition(text)
    assert expected in str(caught.value)


def test_bytes_that_are_no_text_are_refused() -> None:
    """Another encoding, or a file that is far too large, is refused before it is parsed."""
    with pytest.raises(BundleError, match="UTF-8"):
        parse_definition(b"name: caf\xe9")
    with pytest.raises(BundleError, match="more than"):
        parse_definition(b"#" * (MAX_DEFINITION_BYTES + 1))


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    """No model.yaml is an error with a remedy, not a traceback."""
    with pytest.raises(BundleError, match=r"model\.yaml: missing; write one"):
        read_definition(tmp_path / "model.yaml")


def test_versions_in_labels_need_no_quotes_where_yaml_keeps_their_text() -> None:
    """YAML makes a number of 3 and a date of 2024-01-31; both name the folder they look like."""
    definition = parse_definition(HEAD + "labels: {stable: 3, canary: 2024-01-31, beta: v2}")
    assert definition.labels == {"stable": "3", "canary": "2024-01-31", "beta": "v2"}


def test_a_written_definition_reads_back_the_same() -> None:
    """What was said survives, what was never said stays unsaid."""
    text = HEAD + "class: model:Pets\nlabels: {stable: '3'}\noptions: {depth: [1, 2]}\nbatching: {enabled: true}\n"
    definition = parse_definition(text)
    written = definition_text(definition)
    again = parse_definition(written)
    assert again == definition
    assert again.batching.model_fields_set == {"enabled"}
    assert "device" not in written


def test_every_key_is_in_the_reference() -> None:
    """A setting nobody can read about does not exist."""
    page = (Path(__file__).parents[3] / "docs" / "reference" / "model-yaml.md").read_text()
    for cls in (ModelDefinition, TensorDefinition, Batching):
        for name, field in cls.model_fields.items():
            assert f"`{field.alias or name}`" in page
