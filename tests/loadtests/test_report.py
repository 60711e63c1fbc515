"""The report: one set of rows as Markdown and JSON."""

import json
from pathlib import Path

from loadtests.bench.contest import Entrant
from loadtests.bench.report import BEGIN, END, Found, case_rows, markdown, write_json, write_markdown
from loadtests.figures import Figures, spread

CASE = "gRPC, 32 in flight"


def found() -> Found:
    ours = Entrant("dodona", "Dodona", "defaults", ready_s=[1.5], memory=[2**20 * 100])
    ours.figures = {CASE: {0: Figures(2000, 0.5, 1.0, 60, {"router": 40, "onnx-1": 20})}}
    theirs = Entrant("triton", "NVIDIA Triton", "one | two", versions={"t": "1"}, ready_s=[2.0], memory=[2**20])
    theirs.figures = {CASE: {0: Figures(1000, 1.0, 2.0, 120, {"triton": 120})}}
    absent = Entrant("ray", "Ray Serve", "", failure="cannot be installed: no wheel", faults={CASE: "some were errors"})
    machine = {"CPU": "test", "cores": "2"}
    return Found(
        "bench --x",
        "onnx",
        "http2",
        1,
        2.0,
        [CASE, "not run"],
        [ours, theirs, absent],
        machine,
        (0.1, 0.2),
        spread([6.0]),
    )


def test_a_row_for_every_server_of_a_case() -> None:
    """Ratios stand beside the rival, shares beside what has several processes; cases not run have no rows."""
    assert case_rows(found()) == [
        (CASE, "Dodona", "2,000", "0.50", "1.00", "60", "onnx-1 20, router 40", "", ""),
        (CASE, "NVIDIA Triton", "1,000", "1.00", "2.00", "120", "", "0.50x", "2.00x"),
    ]


def test_markdown_tells_machine_command_and_who_is_missing() -> None:
    """A reader can repeat it, and sees who was left out and why; a bar in a cell does not break the table."""
    text = markdown(found())
    assert "`bench --x`" in text
    assert "takes 6.0 us of CPU a row" in text
    assert "CPU test, cores 2" in text
    assert "- Ray Serve: cannot be installed: no wheel" in text
    assert f"- Ray Serve, {CASE}: some were errors" in text
    assert "one / two" in text


def test_the_section_replaces_its_former_self(tmp_path: Path) -> None:
    """What is written around the markers stays."""
    page = tmp_path / "benchmarks.md"
    page.write_text(f"# Title\n\n{BEGIN}\nformer figures\n{END}\n\nafter\n")
    write_markdown(found(), page)
    write_markdown(found(), page)
    text = page.read_text()
    assert text.startswith("# Title\n\n" + BEGIN)
    assert text.endswith(END + "\n\nafter\n")
    assert "former figures" not in text
    assert text.count(f"| {CASE} | NVIDIA Triton |") == 1


def test_a_page_without_markers_gets_them(tmp_path: Path) -> None:
    """A new file too."""
    page = tmp_path / "docs" / "benchmarks.md"
    write_markdown(found(), page)
    assert page.read_text().startswith("# Benchmarks\n\n" + BEGIN)


def test_json_has_every_round_and_the_ratios(tmp_path: Path) -> None:
    """Nothing that the table shows has to be computed again."""
    target = tmp_path / "figures.json"
    write_json(found(), target)
    servers = json.loads(target.read_text())["servers"]
    case = servers["triton"]["cases"][CASE]
    assert case["cpu_ratio"] == {"median": 0.5, "low": 0.5, "high": 0.5}
    assert case["rounds"]["0"]["rate"] == 1000
    assert servers["dodona"]["cold_start_s"] == [1.5]
    assert servers["ray"]["failure"]
