"""Rows of files: every kind read and written, and what is said about a bad one."""

import json

import numpy as np
import pytest

from dodona.cli.exits import UsageError
from dodona.cli.rows import as_text, flat, read_rows, records_of, write_rows


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.csv", "age,town\n31,Ulm\n45,Bonn\n"),
        ("rows.json", '[{"age": 31, "town": "Ulm"}, {"age": 45, "town": "Bonn"}]'),
        ("columns.json", '{"age": [31, 45], "town": ["Ulm", "Bonn"]}'),
        ("rows.jsonl", '{"age": 31, "town": "Ulm"}\n\n{"age": 45, "town": "Bonn"}\n'),
    ],
)
def test_kinds_of_text_files_are_read_alike(tmp_path, name, text):
    """Records, columns and lines give the same columns."""
    (tmp_path / name).write_text(text)
    rows = read_rows(tmp_path / name)
    assert rows.count == 2
    assert not rows.tensors
    assert rows.columns["age"].tolist() == [31, 45]
    assert rows.columns["town"].tolist() == ["Ulm", "Bonn"]


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl", "parquet"])
def test_what_is_written_can_be_read(tmp_path, kind):
    """Every kind that is read is written, and the other way round."""
    path = tmp_path / f"out.{kind}"
    write_rows(path, {"p": np.array([0.25, 0.75]), "class": np.array(["a", "b"], dtype=object)})
    rows = read_rows(path)
    assert rows.columns["p"].tolist() == [0.25, 0.75]
    assert rows.columns["class"].tolist() == ["a", "b"]


def test_tensors_in_json_are_told_apart(tmp_path):
    """A column whose elements are lists is an input, not a feature."""
    (tmp_path / "x.json").write_text('{"image": [[1, 2], [3, 4], [5, 6]]}')
    rows = read_rows(tmp_path / "x.json")
    assert rows.tensors
    assert rows.columns["image"].shape == (3, 2)


def test_missing_numbers_are_nan(tmp_path):
    """An empty cell of a column of numbers is NaN; the model decides whether it takes that."""
    (tmp_path / "x.csv").write_text("a,b\n1.5,1\n,2\n")
    assert np.isnan(read_rows(tmp_path / "x.csv").columns["a"][1])


def test_batches_cover_every_row_once(tmp_path):
    """The last batch is what is left."""
    (tmp_path / "x.csv").write_text("a\n" + "".join(f"{number}\n" for number in range(7)))
    batches = [batch["a"].tolist() for batch in read_rows(tmp_path / "x.csv").batches(3)]
    assert batches == [[0, 1, 2], [3, 4, 5], [6]]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("x.xls", "", "files of kind .xls are not read; use one of .csv"),
        ("x", "", "files of kind unknown"),
        ("x.csv", "a,b\n", "has no rows"),
        ("x.csv", "", "is malformed: Empty CSV file"),
        ("x.csv", "a,b\n1\n", "is malformed"),
        ("x.parquet", "nonsense", "is malformed"),
        ("x.json", "{", "is malformed"),
        ("x.json", "[]", "has no rows"),
        ("x.json", "5", "neither a list of records nor a mapping of columns"),
        ("x.json", "[1, 2]", "a row is not a record"),
        ("x.json", '{"a": 5}', "a column is not a list"),
        ("x.json", '{"a": [1], "b": [1, 2]}', "columns of [1, 2] rows"),
        ("x.json", '[{"a": 1}, {"b": 1}]', "record 2 has other names than the first"),
        ("x.jsonl", '{"a": 1}\n{', "is malformed"),
        ("x.jsonl", '{"a": 1}\n\n{"a": }', "(line 3, column 7)"),
        ("x.jsonl", '{"a": 1}\n{"a": 1, "a": 2}', "key 'a' is there twice in one object (line 2)"),
        ("x.json", '[{"a": 1},\n{"a": ]', "(line 2, column 7)"),
        ("x.json", '[{"a": 1, "a": 2}]', "key 'a' is there twice in one object"),
        ("x.csv", "a,b,a\n1,2,3\n", "column 'a' is there twice, as columns 1 and 3"),
        (
            "x.csv",
            ",a\n0,1\n",
            "column 1 has no name; if it is the index that pandas writes, write it with index=False",
        ),
        ("x.csv", "a;b\n1;2\n", "its values are separated by semicolons; separate them by commas"),
        ("x.csv", "a\tb\n1\t2\n", "its values are separated by tabs"),
    ],
)
def test_bad_files_are_named_with_the_reason(tmp_path, name, text, expected):
    """One line that says which file and what is wrong with it."""
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=name) as caught:
        read_rows(tmp_path / name)
    assert expected in str(caught.value)


def test_a_lone_column_may_be_called_anything(tmp_path):
    """A semicolon in a name makes no other separator of it."""
    (tmp_path / "x.csv").write_text("length; cm\n5\n")
    assert read_rows(tmp_path / "x.csv").columns["length; cm"].tolist() == [5]


def test_writing_names_what_is_wrong(tmp_path):
    """An unknown kind and an unwritable place."""
    with pytest.raises(UsageError, match=r"kind \.txt are not written"):
        write_rows(tmp_path / "x.txt", {"a": np.zeros(1)})
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        write_rows(tmp_path / "nosuch" / "x.json", {"a": np.zeros(1)})


def test_vector_outputs_become_columns():
    """Called after the model's labels where it has them, else by position; bytes become text."""
    outputs = {
        "probabilities": np.array([[0.1, 0.9], [0.8, 0.2]]),
        "embedding": np.zeros((2, 1, 2)),
        "label": np.array([b"yes", b"no"], dtype=object),
        "score": np.array([[1.5], [2.5]]),
    }
    columns = flat(outputs, {"probabilities": ("no", "yes")})
    assert list(columns) == [
        "probabilities[no]",
        "probabilities[yes]",
        "embedding[0]",
        "embedding[1]",
        "label",
        "score",
    ]
    assert columns["probabilities[yes]"].tolist() == [0.9, 0.2]
    assert columns["label"].tolist() == ["yes", "no"]
    assert columns["score"].tolist() == [1.5, 2.5]


def test_bytes_that_are_no_text_are_still_shown():
    """Invalid UTF-8 is replaced, never an error."""
    assert as_text(np.array([b"\xff"], dtype=object)).tolist() == ["\N{REPLACEMENT CHARACTER}"]


def test_records_of_columns():
    """Rows as JSON has them."""
    assert json.dumps(records_of({"a": [1, 2], "b": ["x", "y"]})) == '[{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]'
