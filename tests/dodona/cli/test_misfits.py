"""Files that do not fit a model are told so by row and column."""

import pytest

from dodona.cli.exits import UsageError
from dodona.cli.misfits import refuse_misfits
from dodona.cli.rows import read_rows
from dodona.client import Description
from serving.spec import Signature, TensorSpec

WINE = Description(
    "wine",
    ("1",),
    "python",
    Signature(
        (TensorSpec("x", "FP32", (2,), columns=("alcohol", "ash")), TensorSpec("note", "BYTES", (1,))),
        (),
    ),
)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("x.csv", "alcohol,ash\n1,2\n3,high\n", "x.csv, row 2, column 'ash': 'high' is text where a number"),
        ("x.csv", "alcohol,ash\n,2\nNA,2\n1.5,2\n1;5,2\n", "x.csv, row 4, column 'alcohol': '1;5' is text"),
        ("x.json", '[{"alcohol": 1, "ash": "2"}]', "x.json, row 1, column 'ash': '2' is text"),
        (
            "x.csv",
            "13.2,2.1\n12,2\n",
            "x.csv has no header: its first line holds numbers; put the names there: alcohol",
        ),
        ("x.csv", "alcohol,ash\n1," + "y" * 100, "column 'ash': '" + "y" * 37 + "...'"),
    ],
)
def test_what_does_not_fit_is_named_where_it_stands(tmp_path, name, text, expected):
    """A row counts from 1 in the file, not in the request that carries it; missing cells are not the fault."""
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError) as caught:
        refuse_misfits(read_rows(tmp_path / name), WINE, tmp_path / name)
    assert expected in str(caught.value)


@pytest.mark.parametrize("text", ["alcohol,ash\n1,2\n,3\n", "note\nhigh\n", "colour\nred\n", "alcohol,3\n1,2\n"])
def test_what_fits_or_is_for_the_client_to_tell_passes(tmp_path, text):
    """Missing numbers, texts where texts are taken, names that are unknown."""
    (tmp_path / "x.csv").write_text(text)
    refuse_misfits(read_rows(tmp_path / "x.csv"), WINE, tmp_path / "x.csv")
