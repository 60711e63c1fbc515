"""The worker processes that run now: starts them, passes commands on, and says when one has ended."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from serving.agent.child import Child, StatusLine, write_private
from serving.agent.plan import StartWorker
from serving.agent.settings import AgentSettings, WorkerPool
from serving.cores import usable_cores
from serving.policy.threads import environment, threads_of_a_run
from serving.spec import ModelSpec

_log = logging.getLogger(__name__)

# -P: the folder a user happens to stand in must not shadow our packages.
WORKER_COMMAND: Final = (sys.executable, "-P", "-m", "serving.worker")
_CANNOT_START: Final = 127
_KILLED_WITHIN_S: Final = 5.0


class Fleet:
    """`on_line(worker, status line)` and `on_exit(worker, code)` are called in the event loop; the exit comes last."""

    def __init__(
        self,
        settings: AgentSettings,
        command: Sequence[str],
        *,
        mark: str,
        on_line: Callable[[str, StatusLine], None],
        on_exit: Callable[[str, int], None],
        stderr: int | None = None,
        wanted: Callable[[], int] = lambda: 1,
    ) -> None:
        """`wanted`: how many workers are to run here in all. `mark` is appended to the names that workers have on their
        links and in logs: `onnx-1` is a worker of this agent, and many agents, or this one after a restart, may dial
        the same router."""
        self._settings = settings
        self._mark = mark
        self._command = tuple(command)
        self._on_line = on_line
        self._on_exit = on_exit
        self._stderr = stderr
        self._wanted = wanted
        self._folder = Path(settings.run_folder) / "workers"
        self._children: dict[str, Child] = {}
        self._lives: set[asyncio.Task[None]] = set()

    @property
    def pids(self) -> dict[str, int]:
        return {name: child.pid for name, child in self._children.items() if child.pid is not None}

    def start(self, start: StartWorker, *, nice: int = 0) -> None:
        """`nice`: of all that the worker does until it serves."""
        path = self._folder / f"{self._link_name(start)}.json"
        command = [*self._command, "--settings", str(path)]
        child = Child(
            command,
            lambda line: self._on_line(start.name, line),
            stderr=self._stderr,
            nice=nice,
            environment=environment(self._threads(start.framework), os.environ),
        )
        self._children[start.name] = child
        models = [str(found.spec) for found in start.versions]
        _log.info("worker starts", extra={"worker": self._link_name(start), "models": models})
        life = asyncio.create_task(self._live(start, child, path))
        self._lives.add(life)
        life.add_done_callback(self._lives.discard)

    def unload(self, worker: str, spec: ModelSpec) -> None:
        self._tell(worker, {"unload": {"name": spec.name, "version": spec.version}})

    def drain(self, worker: str) -> None:
        self._tell(worker, {"drain": True})

    def kill(self, worker: str) -> None:
        if worker in self._children:
            self._children[worker].kill()

    def kill_all(self) -> None:
        for child in self._children.values():
            child.kill()

    async def empty(self) -> None:
        """Returns once no worker is left."""
        while self._lives:
            await asyncio.wait(set(self._lives))

    async def close(self) -> None:
        """Whatever still runs is killed."""
        self.kill_all()
        if self._lives:
            _, left = await asyncio.wait(set(self._lives), timeout=_KILLED_WITHIN_S)
            for life in left:
                life.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def _tell(self, worker: str, command: Mapping[str, object]) -> None:
        if worker in self._children:
            self._children[worker].tell(command)

    async def _live(self, start: StartWorker, child: Child, path: Path) -> None:
        """A worker from birth to death."""
        try:
            write_private(path, self._worker_settings(start))
            code = await child.run()
        except OSError as error:
            _log.error("worker cannot be started", extra={"worker": self._link_name(start), "reason": str(error)})
            code = _CANNOT_START
        except Exception:  # a fault of ours; supervision must still learn that the worker is gone
            _log.exception("worker is lost", extra={"worker": self._link_name(start)})
            code = _CANNOT_START
        finally:
            path.unlink(missing_ok=True)  # noqa: ASYNC240 - one small file of our own
            del self._children[start.name]
        _log.info("worker ended", extra={"worker": self._link_name(start), "code": code})
        self._on_exit(start.name, code)

    def _threads(self, framework: str) -> int:
        """Of one run."""
        asked = self._settings.workers.get(framework, WorkerPool()).threads
        return asked or threads_of_a_run(usable_cores(), self._wanted())

    def _link_name(self, start: StartWorker) -> str:
        return f"{start.name}-{self._mark}"

    def _worker_settings(self, start: StartWorker) -> Mapping[str, object]:
        settings = self._settings
        return {
            "name": self._link_name(start),
            "framework": start.framework,
            "routers": list(settings.routers),
            "token": settings.token.get_secret_value(),
            "models": [
                {
                    "name": found.spec.name,
                    "version": found.spec.version,
                    "model_folder": found.model_folder,
                }
                for found in start.versions
            ],
            "metrics_port": 0,
            "log_level": settings.log_level,
            "threads": self._threads(start.framework),
            "spin_s": settings.workers.get(start.framework, WorkerPool()).spin_s,
            "nice": settings.supervise.nice,
            "drain_grace_s": settings.supervise.drain_grace_s,
            "max_frame_bytes": settings.max_frame_bytes,
            "tracing": settings.tracing.model_dump(mode="json"),
        }
