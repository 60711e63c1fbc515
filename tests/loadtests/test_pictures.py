"""The pictures: what is drawn stands where its value says, and nothing is left out."""

from xml.etree import ElementTree

from loadtests.bench.pictures import WIDTH, Bar, Line, bar_chart, line_chart

SVG = "{http://www.w3.org/2000/svg}"


def test_bars_are_as_long_as_their_values() -> None:
    """Half the value is half the bar; one that would crush the others is cut, and its number stays."""
    bars = [
        Bar(name, "#000", value, f"{value:g}", name == "a") for name, value in (("a", 10.0), ("b", 20.0), ("c", 9e9))
    ]
    root = ElementTree.fromstring(bar_chart("t", "s", {"p": bars, "empty": []}))
    widths = [float(rect.get("width", "")) for rect in root.iter(f"{SVG}rect")][1:]
    assert abs(widths[1] - 2 * widths[0]) < 0.2
    assert max(widths) < WIDTH
    words = {text.text for text in root.iter(f"{SVG}text")}
    assert {"a", "b", "c", "10", "20", "9e+09"} <= words
    assert "empty" not in words


def test_lines_rise_with_their_values() -> None:
    """Both axes are logarithmic: equal factors are equal steps; every line has its name once."""
    lines = [
        Line("<a>", "#000", [(10, 1), (100, 10), (1000, 100)], False, True),
        Line("<a>", "#000", [(10, 1)], True, True),
    ]
    root = ElementTree.fromstring(line_chart("t", "s", "x", "y", lines))
    spots = [(float(spot.get("cx", "")), float(spot.get("cy", ""))) for spot in root.iter(f"{SVG}circle")]
    (x1, y1), (x2, y2), (x3, y3) = spots[:3]
    assert abs((x3 - x2) - (x2 - x1)) < 0.2
    assert abs((y3 - y2) - (y2 - y1)) < 0.2
    assert y3 < y1
    assert [text.text for text in root.iter(f"{SVG}text")].count("<a>") == 1
