"""Whether looking for identical requests pays for a version, and for which of its requests.

Telling a request apart from all others, looking it up and keeping its answer costs LOOK_UP_S. Where hardly any request
comes again, and a run costs next to nothing, that is paid for no gain. Then only a stretch of SAMPLE requests in a row
out of each WINDOW is looked up (in a row, because most of what comes again comes soon), and the others pass by:

    full     after each WINDOW looked up: fewer than 1 in SELDOM came again, and runs are cheap  ->  resting
    resting  after each SAMPLE looked up: 1 in SELDOM or more came again, or runs are dear       ->  full

A request came again if it was answered with a kept answer or by the run of another, or if it had been turned away
before and is kept now (router.policy.replies). Runs are cheap while AIM of what a run of one such request is expected
to take is less than LOOK_UP_S.

Invariants: a version begins in full service; one whose runs are dear, or have not been timed yet, is always in full
service, so an expensive run is never made twice at the same time; what is kept stays while it rests, and is found by
the requests that are looked up. While it rests, WINDOW requests come at most, SAMPLE of them looked up, until
repetition is noticed that shows among SAMPLE in a row.

What it does not do: notice at once what comes again only after thousands of others; of that each stretch sees its part,
and the doorkeeper remembers it from one stretch to the next.
"""

from typing import Final, NamedTuple

WINDOW: Final = 2048
SAMPLE: Final = 128
SELDOM: Final = 200
LOOK_UP_S: Final = 2.5e-6
"""Measured (docs/decisions/0016-identical-requests.md)."""
AIM: Final = 0.02
"""The part of a request's cost that looking it up may be."""


class Stretch(NamedTuple):
    """How many requests pass by, and how many after them are looked up."""

    pass_by: int
    look_up: int


FULL: Final = Stretch(0, WINDOW)
RESTING: Final = Stretch(WINDOW - SAMPLE, SAMPLE)


class Attention:
    """Begins with `FULL`. Asked for the next stretch whenever one is over. `came_again`: see `after`."""

    __slots__ = ("_came_again", "_looked_up")

    def __init__(self, came_again: int = 0) -> None:
        self._came_again = came_again
        self._looked_up = FULL.look_up

    def after(self, came_again: int, run_s: float) -> Stretch:
        """`came_again`: requests of all stretches so far that did. `run_s`: what a run of one request is expected to
        take, seconds; infinity if that is not known."""
        newly = came_again - self._came_again
        self._came_again = came_again
        rests = newly * SELDOM < self._looked_up and run_s * AIM < LOOK_UP_S
        stretch = RESTING if rests else FULL
        self._looked_up = stretch.look_up
        return stretch
