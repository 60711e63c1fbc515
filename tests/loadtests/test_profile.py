"""Which part of Dodona a sampled stack belongs to."""

from collections import Counter

import pytest

from loadtests.bench.profile import LOOP, counts, part_of, shares


@pytest.mark.parametrize(
    ("innermost", "part"),
    [
        ("flush (router/front/http2_connection.py:233)", "front: HTTP/2"),
        ("find (serving/worker/fronts.py:60)", "decode and encode tensors"),
        ("run (onnxruntime/capi/inference.py:395)", "run: the model"),
        ("encode (hpack/hpack.py:1)", LOOP),
    ],
)
def test_the_innermost_frame_of_ours_names_the_part(innermost: str, part: str) -> None:
    """A frame that starts the loop is ours too, but names no part."""
    assert part_of(["<module> (dodona/__main__.py:1)", "run (serving/loop.py:14)", innermost]) == part


def test_a_library_belongs_to_who_called_it() -> None:
    """Stacks come outermost first, each with its number of samples."""
    line = "run (serving/loop.py:14);request (router/http2/headers.py:54);decode (hpack/hpack.py:9) 7"
    assert counts([line, line]) == Counter({"front: HTTP/2": 14})


def test_the_loop_has_what_the_others_leave() -> None:
    """A sample stands for a piece of time; waiting inside the loop is no CPU, so its samples are not counted."""
    found = shares({"router": Counter({"link": 10, LOOP: 1000})}, {"router": 30.0}, 2.0)
    assert [(each.part, each.cpu_us) for each in found] == [("link", 20.0), (LOOP, 10.0)]
    assert sum(each.share for each in found) == pytest.approx(1.0)


def test_no_part_has_more_than_its_process_used() -> None:
    """On a busy machine a process waits with a part of ours on its stack."""
    found = shares({"worker": Counter({"link": 10, "run: the model": 30})}, {"worker": 20.0}, 2.0)
    assert [(each.part, each.cpu_us) for each in found] == [("run: the model", 15.0), ("link", 5.0)]
