"""The worker's line to its parent: commands as JSON lines on standard input, status as JSON lines on a descriptor.

Standard input ends when the parent dies, however it dies, so a worker never outlives it unnoticed.
"""

import logging
import os
import select
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

import orjson
from pydantic import Field

from serving.errors import ConfigurationError
from serving.settings import Settings, validate
from serving.spec import ModelSpec

log = logging.getLogger(__name__)

BEAT_S: Final = 0.5
"""Seconds between two signs of life."""

_MAX_LINE_BYTES: Final = 64 * 1024
_BEAT: Final = orjson.dumps({"event": "alive"}) + b"\n"


@dataclass(frozen=True, slots=True)
class Unload:
    """Drain this version, then give its memory back."""

    spec: ModelSpec


@dataclass(frozen=True, slots=True)
class Drain:
    """Finish what was accepted and go."""


Command = Unload | Drain


class _Spec(Settings):
    name: str
    version: str


class _Line(Settings):
    unload: _Spec | None = None
    drain: Annotated[bool, Field(strict=True)] = False


def parse_command(line: bytes) -> Command | None:
    """None for a line that asks for nothing. Raises ConfigurationError: not JSON, unknown keys."""
    try:
        values = orjson.loads(line)
    except orjson.JSONDecodeError:
        values = None
    if not isinstance(values, dict):
        raise ConfigurationError("not a JSON object", field="command", remedy='write {"drain": true}')
    command = validate(_Line, values, where="command")
    if command.drain:
        return Drain()
    return Unload(ModelSpec(command.unload.name, command.unload.version)) if command.unload else None


def read_commands(descriptor: int, on_command: Callable[[Command], None], on_end: Callable[[], None]) -> None:
    """Blocking, for a thread of its own; wrong lines are logged and passed over."""
    # os.read, not sys.stdin: a daemon thread inside a buffered reader would block the interpreter's exit.
    pending = b""
    while received := os.read(descriptor, 4096):
        *lines, pending = (pending + received).split(b"\n")
        pending = pending[-_MAX_LINE_BYTES:]
        for line in filter(None, map(bytes.strip, lines)):
            try:
                command = parse_command(line)
            except ConfigurationError as error:
                log.error("wrong command from the parent", extra={"error": str(error)})
                continue
            if command is not None:
                on_command(command)
    on_end()


class StatusLine:
    """Writes status to the parent; without a parent (descriptor None) to nobody."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def tell(self, event: str, **fields: object) -> None:
        # A log record has a `name` of its own; in logs a model is `model`.
        log.info(event, extra={"model" if key == "name" else key: value for key, value in fields.items()})
        if self._descriptor is None:
            return
        try:
            os.write(self._descriptor, orjson.dumps({"event": event, **fields}) + b"\n")
        except OSError:
            self._descriptor = None  # the parent is gone; the end of standard input tells the rest

    def beat(self) -> None:
        """A sign of life; none where the parent reads nothing, so that a parent that sleeps holds up nobody."""
        if self._descriptor is None:
            return
        pipe = select.poll()
        pipe.register(self._descriptor, select.POLLOUT)
        if any(event & select.POLLOUT for _, event in pipe.poll(0)):
            try:
                os.write(self._descriptor, _BEAT)
            except OSError:
                self._descriptor = None

    def tell_of(self, event: str, spec: ModelSpec, **fields: object) -> None:
        self.tell(event, **{"name": spec.name, "version": spec.version}, **fields)
