from math import inf
from pathlib import Path

import pytest

from serving.policy.batching import Drop, Limits, Run, Snapshot, Waiting, WaitUntil, decide, patience_s
from serving.policy.cost import RunCost

TRANSCRIPT = Path(__file__).parent / "transcripts" / "batching.txt"


def stories() -> list[tuple[str, list[str]]]:
    """Title and lines of each story in the transcript."""
    found: list[tuple[str, list[str]]] = []
    title = ""
    for line in TRANSCRIPT.read_text().splitlines():
        if line.startswith("#"):
            title = line.removeprefix("#").strip()
        elif line.startswith("limits"):
            found.append((title, [line]))
        elif line.strip():
            found[-1][1].append(line)
    return found


class Named(Waiting):
    __slots__ = ("name",)
    name: str


class Story:
    def __init__(self) -> None:
        self.now = 0.0
        self.busy = False
        self.cost: RunCost | None = None
        self.gap_s = 0.0
        self.limits = Limits(1)
        self.waiting: list[Named] = []
        self.seq = 0

    @staticmethod
    def learned(base_s: float, per_row_s: float) -> RunCost:
        cost = RunCost()
        for rows in (1, 3) * 50:
            cost.observe(rows, base_s + per_row_s * rows)
        return cost

    def tell(self, line: str) -> None:
        command, _, rest = line.partition(" ")
        values = dict(word.partition("=")[::2] for word in rest.split() if "=" in word)
        if command == "limits":
            self.cost = self.learned(float(values["base"]), float(values.get("row", 0))) if "base" in values else None
            self.gap_s = float(values.get("gap", 0))
            self.limits = Limits(
                int(values["max_rows"]),
                float(values.get("max_wait", 0)),
                values.get("batched") != "no",
                float(values.get("slo", inf)),
            )
        elif command == "add":
            self.seq += 1
            entry = Named(
                seq=self.seq,
                rows=int(values.get("rows", 1)),
                deadline=float(values.get("deadline", 100)),
                arrived=self.now,
                priority=int(values.get("priority", 0)),
                group=values.get("group"),
            )
            entry.name = rest.split()[0]
            self.waiting.append(entry)
        elif command == "at":
            self.now = float(rest)
        elif command in ("busy", "free"):
            self.busy = command == "busy"
        else:
            assert line == f"decide -> {self.decide()}"

    def decide(self) -> str:
        snapshot = Snapshot(tuple(self.waiting), self.busy, self.cost, self.gap_s)
        action = decide(snapshot, self.limits, self.now)
        assert decide(snapshot, self.limits, self.now) == action
        backwards = Snapshot(tuple(reversed(self.waiting)), self.busy, self.cost, self.gap_s)
        assert decide(backwards, self.limits, self.now).__class__ is action.__class__
        if isinstance(action, WaitUntil):
            return f"wait until {action.at:g}"
        if not isinstance(action, Run | Drop):
            return "idle"
        taken = action.batch if isinstance(action, Run) else action.expired
        self.waiting = [entry for entry in self.waiting if entry not in taken]
        word = "run" if isinstance(action, Run) else "drop"
        return f"{word} {' '.join(entry.name for entry in taken)}"


@pytest.mark.parametrize(("title", "lines"), stories(), ids=[title[:50] for title, _ in stories()])
def test_transcript(title: str, lines: list[str]) -> None:
    """Every story of the transcript is told as written."""
    story = Story()
    for line in lines:
        story.tell(line)


def test_the_transcript_was_read() -> None:
    """All stories are there, each with at least one decision."""
    assert len(stories()) == 28
    assert all(any(line.startswith("decide") for line in lines) for _, lines in stories())


def test_patience_is_the_settings_or_twenty_times_what_is_expected() -> None:
    """A model whose runs are long by nature is not taken for one that hangs; without a setting nothing is."""
    cost = RunCost()
    assert patience_s(1, Limits(8, run_timeout_s=2.0), cost) == 2.0
    cost.observe(1, 1.5)
    assert patience_s(1, Limits(8, run_timeout_s=2.0), cost) == 30.0
    assert patience_s(1, Limits(8), cost) == inf


BASE_S, PER_ROW_S, WAY_PER_ROW_S = 0.008, 0.00036, 0.00014
"""Of layers of 3072 on one thread, and of an answer's way to its caller and the next request's way back: measured,
docs/decisions/0021-long-runs.md."""


def crowd_rate(callers: int, limits: Limits) -> float:
    """Rows a second for callers with one row each who ask again once answered. The answers of a run travel together,
    and so do the requests that follow, which is what frames make of them."""
    cost = RunCost()
    for rows in (1, limits.max_batch_rows) * 50:
        cost.observe(rows, BASE_S + PER_ROW_S * rows)
    now, done = 0.0, 0
    coming = [0.0] * callers
    while done < 50 * callers:
        waiting = [Waiting(seq=seq, rows=1, deadline=inf, arrived=at) for seq, at in enumerate(coming) if at <= now]
        action = decide(Snapshot(waiting, cost=cost), limits, now)
        if isinstance(action, Run):
            for entry in action.batch:
                coming.remove(entry.arrived)
            rows = len(action.batch)
            done += rows
            now += BASE_S + PER_ROW_S * rows
            coming += [now + WAY_PER_ROW_S * rows] * rows
        else:
            now = min(coming)
    return done / now


def test_a_crowd_of_callers_does_not_leave_the_runtime_idle() -> None:
    """256 callers of a model with long runs get above nine tenths of what its largest batch gives, though the way of
    their answers takes a third as long as the runs; sharing one run they would get three quarters."""
    best_rate = 256 / (BASE_S + PER_ROW_S * 256)
    in_one_run_rate = 256 / (BASE_S + (PER_ROW_S + WAY_PER_ROW_S) * 256)
    assert crowd_rate(256, Limits(256)) > 0.9 * best_rate
    assert in_one_run_rate < 0.75 * best_rate
