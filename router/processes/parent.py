"""A router of several processes: this small parent starts them, watches them, starts anew what died, and drains them.

It takes no calls and holds no connection of a caller; while it is busy or stuck, they serve on. It answers what is
asked of the router as a whole: `GET /metrics`, and what a process needs to know of the others.

SIGTERM and SIGINT drain all processes. SIGHUP replaces them one after another: while one drains and its successor
starts, the others accept, so the ports stay open.
"""

import asyncio
import json
import logging
import os
import signal
from collections.abc import Callable
from typing import Any, Final

from router.policy.restarts import Restarts
from router.processes.channel import Word, joined
from router.processes.exposition import ParentMetrics, add_balance, serve
from router.processes.figures import Buried, Figures, read
from router.processes.life import Life
from router.processes.places import Places
from router.settings import RouterSettings

log = logging.getLogger(__name__)

_ENDS_WITHIN_S: Final = 3.0
"""Seconds that a process may take to end, beyond its drain_grace_s."""
_LOOK_EVERY_S: Final = 2.0
"""What a process counted since the last look is lost if it is killed."""


class Parent:
    """`run` works until `stop`."""

    def __init__(self, settings: RouterSettings, *, stop: asyncio.Event) -> None:
        """Raises OSError if a port is taken."""
        self._settings = settings
        self._places = Places(settings)
        self._stop = stop
        self._lives: list[Life | None] = [None] * settings.processes
        self._replacing: set[int] = set()
        self._complete = asyncio.Event()
        self._news = asyncio.Event()
        self._buried = Buried()
        self._restarts = 0
        self._failure = 0
        own = ParentMetrics()
        own.processes.labels().source = self._listening
        own.restarts.labels().source = lambda: self._restarts
        self._registry = own.metrics.registry()

    async def run(self, status_fd: int | None = None) -> int:
        """The return code: not 0 if a process ended before all had started. Raises OSError (metrics port)."""
        try:
            metrics_address, end_metrics = self._serve_metrics()
            try:
                await self._watch(status_fd, metrics_address)
            finally:
                await asyncio.to_thread(end_metrics)
        finally:
            self._places.close()
        log.info("router stopped")
        return self._failure

    async def replace_all(self) -> None:
        """One after another; others listen meanwhile."""
        for number, life in enumerate(list(self._lives)):
            if life is None or not life.started or self._lives[number] is not life or self._stop.is_set():
                continue
            log.info("router process is replaced", extra={"number": number})
            self._replacing.add(number)
            life.terminate()
            while not self._stop.is_set() and (self._lives[number] is life or not self._started(number)):
                await self._next_news()

    async def figures(self) -> Figures:
        """Of the router as a whole, with what its ended processes had counted."""
        await asyncio.gather(*(life.look() for life in self._living()))
        # Who has ended meanwhile is buried, and would count twice.
        figures = self._buried.with_living([*(life.figures for life in self._living()), read(self._registry)])
        add_balance(figures, {str(number): life.figures for number, life in enumerate(self._lives) if life})
        return figures

    # Life and death.

    async def _watch(self, status_fd: int | None, metrics_address: str) -> None:
        keepers = [asyncio.create_task(self._keep(number)) for number in range(len(self._lives))]
        others = [asyncio.create_task(self._look()), asyncio.create_task(self._tell(status_fd, metrics_address))]
        for task in (*keepers, *others):
            task.add_done_callback(self._stop_on_fault)
        try:
            await self._stop.wait()
            for life in self._living():
                life.terminate()
            _, late = await asyncio.wait(keepers, timeout=self._settings.drain_grace_s + _ENDS_WITHIN_S)
            if late:
                log.error("router processes are killed", extra={"reason": "still draining after drain_grace_s"})
        finally:
            for life in self._living():
                life.kill()
            for task in others:
                task.cancel()
            faults = await asyncio.gather(*keepers, *others, return_exceptions=True)
        for fault in faults:
            if isinstance(fault, Exception):
                raise fault

    def _stop_on_fault(self, task: "asyncio.Task[Any]") -> None:
        if not task.cancelled() and task.exception() is not None:
            self._stop.set()

    async def _keep(self, number: int) -> None:
        """A process with this number, again and again."""
        loop = asyncio.get_running_loop()
        restarts = Restarts()
        while not self._stop.is_set():
            born_at = loop.time()
            code = await self._live(number)
            if self._stop.is_set():
                return
            if not self._complete.is_set():
                self._failure = code if code > 0 else 1
                self._stop.set()
                return
            if number in self._replacing:
                self._replacing.discard(number)
                continue
            delay_s = restarts.delay_s(loop.time() - born_at)
            self._restarts += 1
            log.error("router process died", extra={"number": number, "code": code, "restart_in_s": delay_s})
            await self._stopped_within(delay_s)

    async def _live(self, number: int) -> int:
        life = self._lives[number] = Life(self._answer, lambda _: self._changed())
        settings = self._places.settings_of(self._settings, number)
        try:
            return await life.run(settings, number, replaces=self._complete.is_set())
        finally:
            self._lives[number] = None
            self._buried.bury(life.figures)
            self._changed()

    def _changed(self) -> None:
        if all(self._started(number) for number in range(len(self._lives))):
            self._complete.set()
        # One that drains takes no new connection: how it is says nothing of those that do.
        listening = [life for life in self._living() if life.started and not life.leaving]
        for life in self._living():
            others = all(other.ready for other in listening if other is not life)
            life.others_ready(self._complete.is_set() and others)
        self._news.set()

    async def _next_news(self) -> None:
        self._news.clear()
        waits = [asyncio.create_task(event.wait()) for event in (self._news, self._stop)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _stopped_within(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return

    # Questions.

    async def _answer(self, asker: Life, word: Word) -> bytes:
        if word is Word.FIGURES:
            return (await self.figures()).encode()
        others = [life for life in self._living() if life is not asker and life.started]
        bodies = await asyncio.gather(*(life.ask(word) for life in others))
        return joined([body for body in bodies if body is not None])

    def _living(self) -> list[Life]:
        return [life for life in self._lives if life is not None]

    def _started(self, number: int) -> bool:
        life = self._lives[number]
        return life is not None and life.started

    def _listening(self) -> float:
        return sum(life.started for life in self._living())

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            await asyncio.gather(*(life.look() for life in self._living()))

    # To the outside.

    async def _tell(self, status_fd: int | None, metrics_address: str) -> None:
        """One line to whoever started us, once all listen."""
        await self._complete.wait()
        first = self._living()[0].listeners
        links = [life.listeners["link"] for life in self._living()]
        listeners = {**first, "metrics": metrics_address}
        log.info("router listens", extra={"listeners": listeners, "links": links})
        if status_fd is not None:
            line = {"event": "started", "pid": os.getpid(), "listeners": listeners, "links": links}
            os.write(status_fd, json.dumps(line).encode() + b"\n")

    def _serve_metrics(self) -> tuple[str, Callable[[], None]]:
        host, port = self._settings.host, self._settings.metrics_port
        try:
            return serve(self.figures, host, port)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise OSError(f"router.metrics_port = {port}: {reason}; stop what uses it or choose another") from error


async def run(settings: RouterSettings, status_fd: int | None = None) -> int:
    """Serve until SIGTERM or SIGINT: the return code. Raises OSError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    parent = Parent(settings, stop=stop)
    replacing: set[asyncio.Task[None]] = set()

    def replace() -> None:
        if not replacing:
            task = asyncio.ensure_future(parent.replace_all())
            replacing.add(task)
            task.add_done_callback(replacing.discard)

    loop.add_signal_handler(signal.SIGHUP, replace)
    try:
        return await parent.run(status_fd)
    finally:
        await asyncio.gather(*replacing)
