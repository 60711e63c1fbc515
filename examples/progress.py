"""One line for each step: it moves while the step runs, and says how long it took. Plain lines where no one watches."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

# Where no one watches (a pipe, a log) lines are not cut to an imagined terminal.
_terminal = Console()
console = _terminal if _terminal.is_terminal else Console(width=130)


@contextmanager
def step(what: str) -> Iterator[Callable[[str], None]]:
    """Show `what` while the block runs, then its time and what it noted through the function it is given."""
    notes: list[str] = []
    started = time.monotonic()
    if not console.is_terminal:
        console.print(f"{what} ...", highlight=False, soft_wrap=True)
    with console.status(what):
        yield notes.append
    elapsed_s = time.monotonic() - started
    console.print(
        f"  [green]done[/] {what} [dim]{elapsed_s:.1f} s[/]  {'; '.join(notes)}", highlight=False, soft_wrap=True
    )
