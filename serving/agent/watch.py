"""Looks at the repository again and again, in a thread of its own so that a slow disk or bucket never stops anything.

A look that fails changes nothing: what was seen before still holds, so the cluster serves on while a store is away.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Final

from serving.agent.plan import Found
from serving.bundle.layout import DEFINITION_FILE
from serving.bundle.repository import Repository
from serving.bundle.snapshot import Entry, VersionState
from serving.errors import DodonaError

Scan = Callable[[], list[Found]]
_log = logging.getLogger(__name__)

# What of model.yaml a running worker need not know: changing it loads nothing anew.
_NOT_LOADED: Final = {"labels", "description", "owner", "replicas"}


def scan_of(repository: Repository) -> Scan:
    """How an agent looks at a repository. The scan raises DodonaError where it cannot be listed."""

    labels: dict[str, Mapping[str, str]] = {}

    def scan() -> list[Found]:
        entries = list(repository.scan().entries())
        # A model.yaml that is broken, half saved or away for a moment must not move traffic to another version.
        read = {entry.spec.name: entry.definition.labels for entry in entries if entry.definition}
        kept = {entry.spec.name: labels.get(entry.spec.name, {}) for entry in entries}
        labels.clear()
        labels.update(kept | read)
        return [_found(entry, repository, labels[entry.spec.name]) for entry in entries]

    return scan


def _found(entry: Entry, repository: Repository, labels: Mapping[str, str]) -> Found:
    model_folder = repository.model_folder(entry.spec.name)
    if "://" not in model_folder:
        model_folder = str(Path(model_folder).absolute())
    definition = entry.definition
    return Found(
        entry.spec,
        definition.framework if definition else "",
        _digest(entry),
        model_folder=model_folder,
        labels=labels,
        problem="" if entry.state is VersionState.COMPLETE else entry.reason or entry.state.value,
        replicas=definition.replicas if definition else None,
        broken=entry.state is VersionState.BROKEN,
    )


def _digest(entry: Entry) -> str:
    """Changes when something changes that a worker loads: files, or a key of the definition that matters to it."""
    if entry.definition is None:
        return entry.digest
    definition = entry.definition.model_dump_json(exclude=_NOT_LOADED)
    own = tuple(part for part in entry.own if part[0] != DEFINITION_FILE)
    return blake2b(repr((definition, own, entry.files)).encode(), digest_size=16).hexdigest()


class Watch:
    """`deliver` gets, in the event loop, every look that differs from the last; `fault` why looks fail now, "" once
    they work again."""

    def __init__(
        self,
        scan: Scan,
        poll_interval_s: float,
        *,
        deliver: Callable[[list[Found]], None],
        fault: Callable[[str], None],
    ) -> None:
        self._scan = scan
        self._poll_interval_s = poll_interval_s
        self._deliver = deliver
        self._fault = fault
        self._loop = asyncio.get_running_loop()
        self._wake = threading.Condition()
        self._asked: list[asyncio.Future[None]] = []
        self._stopped = False
        self._last: list[Found] | None = None
        self._last_fault = ""
        # A daemon: a look that hangs in a dead network file system must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="repository-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Nothing is delivered after this."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        for future in self._asked:
            future.cancel()

    async def fresh(self) -> None:
        """Returns once a look that began after this call has been delivered, or has failed."""
        future = self._loop.create_future()
        with self._wake:
            self._asked.append(future)
            self._wake.notify()
        await future

    def _run(self) -> None:
        while True:
            with self._wake:
                asked, self._asked = self._asked, []
            found: list[Found] | None = None
            fault = ""
            try:
                found = self._scan()
            except DodonaError as error:
                fault = str(error)
            except Exception as error:
                _log.exception("the repository could not be read")
                fault = f"{type(error).__name__}: {error}"
            if not self._post(found, fault, asked):
                return
            with self._wake:
                self._wake.wait_for(lambda: self._stopped or bool(self._asked), self._poll_interval_s)
                if self._stopped:
                    return

    def _post(self, found: list[Found] | None, fault: str, asked: list[asyncio.Future[None]]) -> bool:
        try:
            self._loop.call_soon_threadsafe(self._receive, found, fault, asked)
        except RuntimeError:  # the loop has been closed while we looked
            return False
        return True

    def _receive(self, found: list[Found] | None, fault: str, asked: list[asyncio.Future[None]]) -> None:
        if self._stopped:
            for future in asked:
                future.cancel()
            return
        if fault != self._last_fault:
            self._last_fault = fault
            self._fault(fault)
        if found is not None and found != self._last:
            self._last = found
            self._deliver(found)
        for future in asked:
            if not future.done():
                future.set_result(None)
