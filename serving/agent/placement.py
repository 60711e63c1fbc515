"""One replica of one version over its life: how often its process died, when it may start again, and the verdict.

Theory. A process that dies says nothing about which of the versions it was loading was at fault. So the first death
only sets the suspects apart (`alone`): each is tried in a process of its own, where a death names its culprit. After
`load_attempts` deaths in a row the version is given up (`verdict`) until its files change or an operator asks. A death
while serving is never a verdict: the model worked, so it is restarted for ever, ever less often. Nor is a run that
hangs; but its version is set apart. Delays double from `restart_delay_s` to `restart_delay_max_s` and start over after
`healthy_after_s` of readiness.
"""

import signal

from serving.agent.plan import Bounds


class Placement:
    """State of (version, replica number). `digest` is the content that the notes below are about."""

    __slots__ = ("alone", "cause", "deaths", "digest", "load_deaths", "not_before", "verdict")

    def __init__(self, digest: str) -> None:
        self.digest = digest
        self.verdict = ""
        self.alone = False
        self.not_before = 0.0
        self.deaths = 0
        self.load_deaths = 0
        self.cause = ""

    def failed(self, reason: str) -> None:
        """The worker refused the version: trying the same files again gives the same answer."""
        self.verdict = reason or "the worker gave no reason"

    def became_ready(self) -> None:
        self.load_deaths = 0
        self.cause = ""

    def died_loading(self, cause: str, now: float, bounds: Bounds) -> None:
        self.load_deaths += 1
        self.alone = True
        self._back_off(cause, now, bounds)
        if self.load_deaths >= bounds.load_attempts:
            times = "once" if self.load_deaths == 1 else f"{self.load_deaths} times in a row"
            self.verdict = f"its worker died {times} while loading it: {cause}"

    def died_serving(self, cause: str, ready_s: float, now: float, bounds: Bounds) -> None:
        if ready_s >= bounds.healthy_after_s:
            self.deaths = 0
        self._back_off(cause, now, bounds)

    def hung(self, cause: str, ready_s: float, now: float, bounds: Bounds) -> None:
        """Its worker has to be replaced; from now on it has one of its own, so that it harms no other model."""
        self.alone = True
        self.died_serving(cause, ready_s, now, bounds)

    def _back_off(self, cause: str, now: float, bounds: Bounds) -> None:
        self.cause = cause
        # The exponent is bounded so that a version that dies for weeks cannot overflow a float.
        delay_s = bounds.restart_delay_s * 2.0 ** min(self.deaths, 32)
        self.deaths += 1
        self.not_before = now + min(delay_s, bounds.restart_delay_max_s)


def cause_of(code: int) -> str:
    """A process's return code in words: -11 is "killed by SIGSEGV", 3 is "exited with code 3"."""
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
