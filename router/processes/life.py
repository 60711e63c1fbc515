"""One router process from its start to its end, as its parent sees it."""

import asyncio
import logging
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import orjson

from router.processes.channel import Channel, Gone, Word
from router.processes.figures import Figures
from router.settings import RouterSettings

log = logging.getLogger(__name__)

# -P: the folder a user happens to stand in must not shadow our packages.
COMMAND: Final = (sys.executable, "-P", "-m", "router")
_PATIENCE_S: Final = 2.0
_LAST_WORDS_S: Final = 1.0


class Life:
    """`answer(life, word)` answers what the process asks about all of them; `changed` is called when it has started, is
    told to go, or its readiness changed."""

    def __init__(
        self,
        answer: Callable[["Life", Word], Awaitable[bytes]],
        changed: Callable[["Life"], None],
    ) -> None:
        self._changed = changed
        self._channel = Channel(lambda word, _: answer(self, word), self._told)
        self._process: asyncio.subprocess.Process | None = None
        self._wished: Callable[[asyncio.subprocess.Process], None] | None = None
        self.listeners: Mapping[str, str] = {}
        """Empty until it listens."""
        self.ready = False
        self._introduced = False
        self.leaving = False
        """Was told to drain."""
        self.figures = Figures()
        """The last that are known."""

    @property
    def started(self) -> bool:
        return bool(self.listeners)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def run(self, settings: RouterSettings, number: int, *, replaces: bool) -> int:
        """The return code. `replaces`: others serve already."""
        ours, theirs = socket.socketpair()
        with theirs:
            await self._channel.open(ours)
            told = {"settings": plain(settings), "number": number, "replaces": replaces}
            self._channel.tell(Word.SETTINGS, orjson.dumps(told))
            self._introduced = True
            self._changed(self)  # it must know of the others before it answers its first caller
            # A session of its own: Ctrl-C in the terminal is for the parent, which ends its processes in order.
            self._process = await asyncio.create_subprocess_exec(
                *COMMAND,
                *("--member-fd", str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        if self._wished is not None:
            self._signal(self._wished)
        try:
            code = await self._process.wait()
            await asyncio.wait([self._channel.gone], timeout=_LAST_WORDS_S)
            return code
        finally:
            self.kill()
            self._channel.close()

    def terminate(self) -> None:
        """Drain."""
        self.leaving = True
        self._changed(self)
        self._signal(lambda process: process.terminate())

    def kill(self) -> None:
        self._signal(lambda process: process.kill())

    def others_ready(self, ready: bool) -> None:
        if self._introduced:  # its settings are the first that it reads
            self._channel.tell(Word.READY, b"1" if ready else b"0")

    async def ask(self, word: Word) -> bytes | None:
        """None if it does not answer in time."""
        try:
            return await self._channel.ask(word, timeout_s=_PATIENCE_S)
        except (Gone, TimeoutError):
            return None

    async def look(self) -> None:
        """Bring `figures` up to date, if it answers."""
        body = await self.ask(Word.FIGURES)
        if body is not None:
            self.figures = Figures.decode(body)

    def _told(self, word: Word, body: bytes) -> None:
        if word is Word.FIGURES:
            self.figures = Figures.decode(body)
        elif word is Word.STARTED:
            self.listeners = orjson.loads(body)
            self._changed(self)
        elif word is Word.READY:
            self.ready = body == b"1"
            self._changed(self)

    def _signal(self, send: Callable[[asyncio.subprocess.Process], None]) -> None:
        """Now, or once the process is there."""
        self._wished = send
        if self._process is not None and self._process.returncode is None:
            send(self._process)


def plain(settings: RouterSettings) -> Mapping[str, object]:
    """As JSON, with the token in clear: only our own process reads it."""
    values = settings.model_dump(mode="json")
    values["link"]["token"] = settings.link.token.get_secret_value()
    return values
