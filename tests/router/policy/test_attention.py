"""Looking for identical requests rests where it does not pay, and only there."""

from collections.abc import Iterator
from itertools import count
from math import inf

from router.policy.attention import AIM, FULL, LOOK_UP_S, RESTING, SAMPLE, SELDOM, WINDOW, Attention
from router.policy.replies import Replies

CHEAP_S = 20e-6
DEAR_S = 1e-3


class Version:
    """Requests one after another, each a number, against what was kept; an answer is there before the next comes."""

    def __init__(self, run_s: float = CHEAP_S) -> None:
        self.run_s = run_s
        self.shelf = Replies(1 << 20).shelf()
        self.attention = Attention()
        self.stretch = FULL
        self.hits = 0
        self.pass_by, self.left = FULL

    def ask(self, number: int) -> str:
        """What becomes of it: `hit`, `miss`, or `past`."""
        if not self.left:
            self.stretch = self.attention.after(self.hits + self.shelf.let_in, self.run_s)
            self.pass_by, self.left = self.stretch
        if self.pass_by:
            self.pass_by -= 1
            return "past"
        self.left -= 1
        key = number.to_bytes(8)
        if self.shelf.get(key, lambda: 0.0) is not None:
            self.hits += 1
            return "hit"
        self.shelf.put(key, b"answer", 0.0)
        return "miss"

    def ask_all(self, numbers: range | list[int]) -> str:
        """What became of them, as a transcript: how many in a row of each kind."""
        kinds = [self.ask(number) for number in numbers]
        lines: list[list[object]] = []
        for kind in kinds:
            if lines and lines[-1][1] == kind:
                lines[-1][0] = int(str(lines[-1][0])) + 1
            else:
                lines.append([1, kind])
        return ", ".join([f"{number} {kind}" for number, kind in lines])


def until_full(version: Version, numbers: Iterator[int]) -> int:
    """How many requests it takes."""
    for asked in count():
        if version.stretch == FULL:
            return asked
        version.ask(next(numbers))
    raise AssertionError


def test_requests_that_never_come_again_are_looked_up_by_a_sample() -> None:
    """Full service to begin with; then a stretch in a row out of each window."""
    assert Version().ask_all(range(3 * WINDOW)) == (
        f"{WINDOW} miss, {WINDOW - SAMPLE} past, {SAMPLE} miss, {WINDOW - SAMPLE} past, {SAMPLE} miss"
    )


def test_repetition_brings_full_service_back() -> None:
    """Equal inputs: within a window. Those of a thousand, at random order: within three."""
    version = Version()
    version.ask_all(range(WINDOW))
    assert version.ask_all([7] * 2 * WINDOW) == f"{WINDOW - SAMPLE} past, {WINDOW + SAMPLE} hit"
    version = Version()
    version.ask_all(range(WINDOW + 5))
    assert until_full(version, iter([10**6 + 617 * step % 1000 for step in range(10 * WINDOW)])) < 3 * WINDOW


def test_what_is_kept_is_found_while_it_rests() -> None:
    """Resting forgets nothing: what was kept before is a hit in the next stretch, what was turned away is let in."""
    for first, kinds in ((0, "hit"), (WINDOW - SAMPLE, "miss")):
        version = Version()
        version.ask_all(range(WINDOW))
        again = range(first, first + SAMPLE)
        assert version.ask_all(range(WINDOW, 2 * WINDOW - SAMPLE)) == f"{WINDOW - SAMPLE} past"
        assert version.ask_all(again) == f"{SAMPLE} {kinds}"
        assert "past" not in version.ask_all(again)


def test_dear_runs_are_never_made_twice() -> None:
    """A millisecond a run, or nobody knows: every request is looked up, however seldom one comes again."""
    for run_s in (DEAR_S, LOOK_UP_S / AIM, inf):
        assert Version(run_s).ask_all(range(5 * WINDOW)) == f"{5 * WINDOW} miss"


def test_runs_that_become_dear_end_the_rest() -> None:
    """After the stretch that is under way."""
    version = Version()
    version.ask_all(range(WINDOW + 1))
    version.run_s = DEAR_S
    assert version.ask_all(range(WINDOW + 1, 4 * WINDOW)) == f"{WINDOW - SAMPLE - 1} past, {2 * WINDOW + SAMPLE} miss"


def test_one_in_two_hundred_is_enough() -> None:
    """Of a window in full service, and of a stretch at rest; and what came again earlier does not count twice."""
    enough = -(-WINDOW // SELDOM)
    attention = Attention(came_again=100)
    assert attention.after(100 + enough, CHEAP_S) == FULL
    assert attention.after(100 + 2 * enough - 1, CHEAP_S) == RESTING
    assert attention.after(100 + 2 * enough - 1, CHEAP_S) == RESTING
    assert attention.after(100 + 2 * enough, CHEAP_S) == FULL
    assert attention.after(100 + 2 * enough, CHEAP_S) == RESTING
