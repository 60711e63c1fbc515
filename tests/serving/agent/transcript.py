"""Plays a transcript against a Supervision and writes down what it does.

A line "> SECONDS EVENT ..." is an event; the lines below it, up to the next event, are the actions taken. `index` is a
question, answered with a line per version. Versions are written `framework:name/version#digest`, followed by `?reason`
while incomplete or `!reason` if broken; `*2` behind the digest says how many replicas model.yaml wants.
"""

import re
import shlex
from inspect import cleandoc

from serving.agent.plan import Action, Answer, Bounds, DrainWorker, Found, KillWorker, StartWorker, UnloadVersion
from serving.agent.supervision import Supervision
from serving.spec import ModelSpec

_VERSION = re.compile(r"(\w+):([\w-]+)/(\w*)#(\w+)(?:\*(\d+))?(?:([?!])(.*))?")


def play(script: str, bounds: Bounds | None = None, replicas: int = 1) -> None:
    """Assert that the script is exactly what happens."""
    supervision = Supervision(bounds or Bounds(), lambda _: replicas)
    script = cleandoc(script)
    happened = []
    for line in script.splitlines():
        if line.startswith(">"):
            happened.append(line)
            happened.extend(_event(supervision, *shlex.split(line[1:])))
    assert "\n".join(happened) == script


def _event(supervision: Supervision, seconds: str, event: str, *words: str) -> list[str]:
    now = float(seconds)
    match event:
        case "found":
            actions = supervision.snapshot([_found(word) for word in words], now)
        case "loading" | "ready" | "failed" | "unloaded" | "stuck":
            name, _, version = words[1].partition("/")
            actions = supervision.status(words[0], event, ModelSpec(name, version), now, reason=" ".join(words[2:]))
        case "started" | "drained":
            actions = supervision.status(words[0], event, None, now)
        case "alive":
            supervision.alive(words[0], now)
            return []
        case "exited":
            actions = supervision.exited(words[0], int(words[1]), now)
        case "load" | "unload":
            actions = getattr(supervision, event)(int(words[0]), words[1], now)
        case "tick" | "drain":
            actions = getattr(supervision, event)(now)
        case "wake":
            return [str(supervision.wake_at(now))]
        case "index":
            return [
                f"{version.spec} {version.state}{': ' if version.reason else ''}{version.reason}"
                for version in supervision.index()
            ]
        case _:
            raise AssertionError(f"no event {event}")
    return [_action(action) for action in actions]


def _found(word: str) -> Found:
    match = _VERSION.fullmatch(word)
    assert match, word
    framework, name, version, digest, replicas, kind, problem = match.groups()
    return Found(
        ModelSpec(name, version),
        framework,
        digest,
        replicas=None if replicas is None else int(replicas),
        problem=problem or "",
        broken=kind == "!",
    )


def _action(action: Action) -> str:
    match action:
        case StartWorker():
            return f"start {action.name}: {' '.join(f'{found.spec}#{found.digest}' for found in action.versions)}"
        case UnloadVersion():
            return f"unload {action.worker} {action.spec}"
        case DrainWorker():
            return f"drain {action.worker}"
        case KillWorker():
            return f"kill {action.worker}: {action.reason}"
        case Answer():
            return f"answer {action.control} {action.status.name}{': ' if action.message else ''}{action.message}"
