from random import Random

import pytest

from serving.tracing.context import Context, Sampler, read, trace_id_of

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


def sampler(ratio: float, *, follow_parent: bool = True, chances: list[float] | None = None) -> Sampler:
    random = Random(7)
    chance = iter(chances).__next__ if chances is not None else random.random
    return Sampler(ratio, follow_parent=follow_parent, chance=chance, random_bytes=random.randbytes)


def test_a_traceparent_is_read_and_written() -> None:
    """Trace, parent and flags come out as they went in; a callee gets the span below which it stands."""
    context = read(f"00-{TRACE}-{SPAN}-03")
    assert context is not None
    assert (context.trace_id.hex(), context.span_id.hex(), context.flags) == (TRACE, SPAN, 3)
    assert context.traceparent(bytes(range(8))) == f"00-{TRACE}-0001020304050607-03"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"0x-{TRACE}-{SPAN}-01",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE}-{SPAN}-0é",
        "\x00" * 55,
    ],
)
def test_what_is_no_traceparent_begins_a_trace(text: str) -> None:
    """The standard asks to ignore it: the ratio decides, and nothing of it is passed on."""
    assert read(text) is None
    assert trace_id_of(text) == ""
    begun = sampler(1.0).decide(text)
    assert begun is not None
    assert begun.span_id == b""
    assert begun.trace_id.hex() != TRACE
    assert sampler(0.0).decide(text) is None


def test_a_newer_version_may_say_more() -> None:
    """Of a version above 00 the known part counts, whatever follows it."""
    context = read(f"01-{TRACE}-{SPAN}-01-what-the-future-brings")
    assert context is not None
    assert context.traceparent(bytes.fromhex(SPAN)) == f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)])
def test_the_callers_decision_stands(flags: str, sampled: bool) -> None:
    """By the lowest bit of the flags alone, whatever our ratio."""
    for ratio in (0.0, 1.0):
        assert (sampler(ratio).decide(f"00-{TRACE}-{SPAN}-{flags}") is not None) == sampled


def test_the_ratio_decides_for_what_begins_here() -> None:
    """One random number a request; about so many are sampled, with ids that differ."""
    assert sampler(0.5, chances=[0.49]).decide("") is not None
    assert sampler(0.5, chances=[0.5]).decide("") is None
    ours = sampler(0.1)
    begun = [context for _ in range(5000) if (context := ours.decide("")) is not None]
    assert 400 < len(begun) < 600
    assert len({context.trace_id for context in begun}) == len(begun)
    assert all(context.sampled for context in begun)


def test_a_ratio_for_callers_too_goes_by_the_trace_id() -> None:
    """Without `follow_parent` services with the same ratio decide alike about a trace, and ours says so downstream."""
    random = Random(3)
    parents = [f"00-{random.randbytes(16).hex()}-{SPAN}-00" for _ in range(2000)]
    first, second = sampler(0.25, follow_parent=False), sampler(0.25, follow_parent=False)
    decisions = [first.decide(parent) for parent in parents]
    assert [bool(context) for context in decisions] == [bool(second.decide(parent)) for parent in parents]
    taken = [context for context in decisions if context is not None]
    assert 400 < len(taken) < 600
    assert all(context.sampled for context in taken)
    assert not any(sampler(0.0, follow_parent=False).decide(parent) for parent in parents)
    assert all(sampler(1.0, follow_parent=False).decide(parent) for parent in parents)


def test_other_systems_notes_are_bounded() -> None:
    """A tracestate is passed on as it came, or not at all where it is overlong."""
    context = Context(bytes(16))
    context.add_state("x" * 513)
    assert context.state == ""
    context.add_state("congo=t61rcWkgMzE")
    assert context.state == "congo=t61rcWkgMzE"
