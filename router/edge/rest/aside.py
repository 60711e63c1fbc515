"""Work on large JSON done in a process of its own, so that nobody else's request waits for it.

Parsing 64 MB of JSON and packing its numbers takes two seconds, in which the event loop does nothing else. A thread
would not help: the parser holds the interpreter from its first byte to its last. So there is one process, started when
it is first needed, that takes one piece of work after the other over a pipe; `FUNCTIONS` says what it can do, and all
of it are pure functions of the request code. It ends when its standard input does, that is, with the router.

What is small is done at once, in the event loop: the way through the pipe costs a millisecond.
"""

import asyncio
import contextlib
import pickle
import sys
from asyncio import Future, Task
from asyncio.subprocess import Process
from collections import deque
from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, Final

from router.edge.rest.decode import message_of
from router.edge.rest.encode import response_of
from serving.errors import DodonaError, Shed, Unavailable

LARGE: Final = 512 * 1024
"""Bytes of JSON from which it is parsed or written aside: some milliseconds."""
_MOST_WAITING: Final = 64
FRAME: Final = Struct("<QQ")
"""Before every message: bytes of the pickled arguments or result, and of the body behind them."""
FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {"message_of": message_of, "response_of": response_of}


class _Job:
    __slots__ = ("body", "outcome", "text")

    def __init__(self, text: bytes, body: bytes, outcome: Future[Any]) -> None:
        self.text = text
        self.body = body
        self.outcome = outcome


class Aside:
    """One process and the work that waits for it. Cancelling `call` withdraws work that has not begun."""

    def __init__(self) -> None:
        self._waiting: deque[_Job] = deque()
        self._worker: Task[None] | None = None
        self._process: Process | None = None

    async def call(self, function: str, body: bytes, *arguments: Any, **options: Any) -> Any:
        """`FUNCTIONS[function](body, *arguments, **options)`. Raises what it raises of DodonaError; Shed where too much
        waits; Unavailable if the process ends meanwhile."""
        if len(self._waiting) >= _MOST_WAITING:
            raise Shed(f"{_MOST_WAITING} large JSON bodies wait to be read", retry_after_s=1.0)
        loop = asyncio.get_running_loop()
        job = _Job(pickle.dumps((function, arguments, options)), body, loop.create_future())
        self._waiting.append(job)
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._work())
        try:
            return await job.outcome
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(job)

    async def close(self) -> None:
        """End the process; what waits is refused."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        for job in self._waiting:
            _refuse(job)
        await self._end()

    async def _work(self) -> None:
        """Until nothing waits any more. The work in hand is finished even if its caller has gone: its answer must be
        read from the pipe."""
        while self._waiting:
            job = self._waiting.popleft()
            try:
                outcome = await self._done_by(await self._running(), job)
            except (OSError, asyncio.IncompleteReadError, EOFError):
                await self._end()
                _refuse(job)
            except asyncio.CancelledError:
                _refuse(job)
                raise
            else:
                _settle(job, outcome)

    async def _running(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "router.edge.rest.beside"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=1 << 20,
            )
        return self._process

    @staticmethod
    async def _done_by(process: Process, job: _Job) -> Any:
        to, back = process.stdin, process.stdout
        assert to is not None
        assert back is not None
        to.write(FRAME.pack(len(job.text), len(job.body)) + job.text)
        to.write(job.body)
        await to.drain()
        size, _ = FRAME.unpack(await back.readexactly(FRAME.size))
        return pickle.loads(await back.readexactly(size))

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _settle(job: _Job, outcome: Any) -> None:
    if job.outcome.done():  # its caller has gone
        return
    if isinstance(outcome, BaseException):
        job.outcome.set_exception(outcome)
    else:
        job.outcome.set_result(outcome)


def _refuse(job: _Job) -> None:
    error: DodonaError = Unavailable("the process that reads large JSON has ended", remedy="try again")
    _settle(job, error)
