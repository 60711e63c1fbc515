from router.policy.standing import LONGEST_S, Changes, Standing
from serving.errors import Shed


class Judge:
    """Says what the test says, and remembers when it was asked, of whom."""

    def __init__(self) -> None:
        self.answer: Shed | None = Shed("late")
        self.asked: list[tuple[float, float]] = []
        self.counted = 0

    def __call__(self, now: float, allowed_s: float) -> Shed | None:
        self.asked.append((now, allowed_s))
        return self.answer

    def count(self) -> None:
        self.counted += 1


def make() -> tuple[Standing, Judge, Changes]:
    judge, changes = Judge(), Changes()
    return Standing(0.05, changes, judge, judge.count), judge, changes


def test_between_two_changes_it_is_decided_once() -> None:
    """However many ask, the judge is asked once, for a request with all of its time."""
    standing, judge, _ = make()
    assert [standing.refusal(1.0) for _ in range(3)] == [judge.answer] * 3
    assert judge.asked == [(1.0, 0.05)]


def test_after_a_change_it_is_decided_anew() -> None:
    """Work was finished: whoever comes next may be admitted, or refused in other words."""
    standing, judge, changes = make()
    first = standing.refusal(1.0)
    changes.count += 1
    judge.answer = Shed("later")
    assert standing.refusal(1.0) is judge.answer is not first
    changes.count += 1
    judge.answer = None
    assert standing.refusal(1.001) is None
    assert len(judge.asked) == 3


def test_it_ends_by_itself() -> None:
    """What no change ends is looked at again after LONGEST_S."""
    standing, judge, _ = make()
    standing.refusal(1.0)
    standing.refusal(1.0 + LONGEST_S / 2)
    assert len(judge.asked) == 1
    standing.refusal(1.0 + LONGEST_S)
    assert len(judge.asked) == 2


def test_repetitions_are_counted() -> None:
    """Each has a number, and the metrics hear of it."""
    standing, judge, _ = make()
    assert [standing.repeat(), standing.repeat()] == [1, 2]
    assert judge.counted == 2
