"""A child process seen from outside: commands down its standard input, status lines up a pipe of their own.

Its JSON logs pass through to our standard error or to a file. Its standard input ends with this process, however that
ends, and a child drains and exits when its input ends: so no child outlives its parent.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import orjson

from serving.priority import lower_session

_LINE_LIMIT: Final = 1024 * 1024  # bytes of one status line; a longer one is passed over
_STDERR: Final = 2
_LAST_WORDS_S: Final = 1.0  # the pipe of a dead worker ends at once, unless a process of its own still holds it

_log = logging.getLogger(__name__)

StatusLine = Mapping[str, object]


class Child:
    """Made at once, so that commands may be given before the process exists; they wait for it."""

    def __init__(
        self,
        command: Sequence[str],
        on_line: Callable[[StatusLine], None],
        *,
        stderr: int | None = None,
        nice: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`stderr`: descriptor for its standard error, None = ours. `nice`: of its session, until it takes it back.
        `environment` is added to ours."""
        self._environment = environment or {}
        self._command = tuple(command)
        self._on_line = on_line
        self._stderr = stderr
        self._nice = nice
        self._process: asyncio.subprocess.Process | None = None
        self._early: list[bytes] = []
        self._killed = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def tell(self, command: Mapping[str, object]) -> None:
        line = orjson.dumps(command) + b"\n"
        if self._process is None:
            self._early.append(line)
        elif self._process.stdin and not self._process.stdin.is_closing():
            self._process.stdin.write(line)

    def terminate(self) -> None:
        """SIGTERM; nothing if it does not run."""
        if self._process and self._process.returncode is None:
            self._process.terminate()

    def kill(self) -> None:
        self._killed = True
        if self._process and self._process.returncode is None:
            self._process.kill()

    async def run(self) -> int:
        """Start the process and follow it to its end: its return code, after its last status line. Raises OSError if
        it cannot be started."""
        reader, transport, status_fd = await _status_pipe()
        try:
            # A session of its own: Ctrl-C in the terminal is for the parent, which ends its workers in order.
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                "--status-fd",
                str(status_fd),
                stdin=asyncio.subprocess.PIPE,
                # What a model prints goes to the log: standard output is the parent's own, often read by a script.
                stdout=_STDERR if self._stderr is None else self._stderr,
                stderr=self._stderr,
                env={**os.environ, **self._environment},
                pass_fds=(status_fd,),
                start_new_session=True,
            )
            lower_session(self._process.pid, self._nice)
        except BaseException:
            transport.close()
            raise
        finally:
            os.close(status_fd)
        try:
            return await self._follow(self._process, reader)
        finally:
            transport.close()
            self.kill()

    async def _follow(self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader) -> int:
        if self._killed:
            self.kill()
        for line in self._early:
            assert process.stdin is not None
            process.stdin.write(line)
        lines = asyncio.ensure_future(self._read(reader))
        try:
            code = await process.wait()
            await asyncio.wait([lines], timeout=_LAST_WORDS_S)
        finally:
            lines.cancel()
            await asyncio.wait([lines])
        return code

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await reader.readline()
            except ValueError:  # too long; what has been read of it is gone
                continue
            if not line:
                return
            try:
                status = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if isinstance(status, dict):
                try:
                    self._on_line(status)
                except Exception:  # a fault of ours; unread, the pipe would fill up and stop the child
                    _log.exception("status line could not be taken")


async def _status_pipe() -> tuple[asyncio.StreamReader, asyncio.BaseTransport, int]:
    """A reader with its transport, and the descriptor to write to; the caller closes the latter two."""
    reading, writing = os.pipe()
    reader = asyncio.StreamReader(limit=_LINE_LIMIT)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb", buffering=0)
    )
    return reader, transport, writing


def write_private(path: Path, settings: Mapping[str, object]) -> None:
    """A child's settings as JSON. They hold the link's token: nobody else may read the file."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps(settings))
