import json
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.runtimes.compiled.ubjson import read
from tests.serving.runtimes.compiled.boosters import trained


@cache
def small_model() -> bytes:
    return bytes(trained("reg:squarederror", 1).save_raw("ubj"))[:2000]


def plain(value: object) -> object:
    if isinstance(value, dict):
        return {name: plain(member) for name, member in value.items()}
    if isinstance(value, np.ndarray | list):
        return [plain(element) for element in value]
    if isinstance(value, np.floating | float):
        return pytest.approx(float(value), rel=1e-6)
    return int(value) if isinstance(value, np.integer | bool) else value


def test_a_model_reads_as_its_json() -> None:
    """Both forms that XGBoost writes hold the same."""
    booster = trained("multi:softprob", 3)
    assert plain(read(booster.save_raw("ubj"))) == plain(json.loads(booster.save_raw("json")))


def test_other_forms() -> None:
    """Arrays without a type or a length, texts, constants, integers of every width."""
    assert read(b"[i\x05SU\x02hiZTF]") == [5, "hi", None, True, False]
    assert read(b"[#U\x02I\x01\x00l\x00\x01\x00\x00") == [256, 65536]
    assert read(b"{U\x01ad\x3f\x80\x00\x00U\x01b[]}") == {"a": 1.0, "b": []}
    assert read(b"[$U#U\x03\x01\x02\x03").tolist() == [1, 2, 3]


@given(cut=st.integers(0, 2000), at=st.integers(0, 2000), byte=st.integers(0, 255))
def test_damaged_documents(cut: int, at: int, byte: int) -> None:
    """Whatever is cut off or changed, reading ends with a value or a ValueError."""
    whole = bytearray(small_model())
    whole[at % len(whole)] = byte
    try:
        read(bytes(whole[:cut]))
    except ValueError:
        return


def test_nesting_is_bounded() -> None:
    """A bomb of brackets is refused before it exhausts the stack."""
    with pytest.raises(ValueError, match="nested deeper than 64"):
        read(b"[" * 1000)
