"""A model that costs next to nothing however large its input: four numbers a row, so that the server is measured."""

from pathlib import Path
from typing import Any


class Corner:
    """Dodona's python runtime; `corner` is what every server calls."""

    def load(self, folder: Path) -> None:
        del folder

    def predict(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return {"corner": corner(inputs["image"])}


def corner(images: Any) -> Any:
    """[rows, 3, 224, 224] to [rows, 4]: the last four pixels."""
    return images[:, -1, -1, -4:].copy()
