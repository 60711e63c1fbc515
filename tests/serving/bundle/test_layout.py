import pytest

from serving.bundle.layout import is_harmless, safe_path


@pytest.mark.parametrize("path", ["model.onnx", "saved_model/variables/variables.index", "a..b/..c"])
def test_paths_inside_the_folder_are_kept(path: str) -> None:
    """An ordinary relative path comes back unchanged."""
    assert safe_path(path) == path


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../x", "a/../../x", "a/./b", "a//b", "a/", "C:\\x", "a\\b", "c:x", "a\0b", "a\nb"]
)
def test_paths_that_could_leave_the_folder_are_refused(path: str) -> None:
    """Every way out of the folder, and every spelling that another system reads as one, is refused."""
    with pytest.raises(ValueError, match="inside its folder"):
        safe_path(path)


def test_only_files_that_no_runtime_reads_are_harmless() -> None:
    """File browsers' litter is tolerated at any depth; compiled Python is not."""
    assert all(map(is_harmless, [".DS_Store", "a/.DS_Store", "Thumbs.db", "._model.onnx", ".nfs00a1"]))
    assert not any(map(is_harmless, ["__pycache__/model.cpython-311.pyc", "model.py", ".env", "x.DS_Store"]))
