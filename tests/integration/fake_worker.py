"""A worker that loads nothing: it speaks the contract between an agent and its workers, and misbehaves on demand.

What a version does is in its name: `crash` dies by a signal while it loads, `bad` is refused, `wordy` is refused after
a status line past all limits, `hang` never comes to an end, `stubborn` does not drain; all others are ready at once.
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--settings", type=Path, required=True)
    parser.add_argument("--status-fd", type=int, required=True)
    arguments = parser.parse_args()
    settings = json.loads(arguments.settings.read_text())

    def say(event: str, **more: object) -> None:
        os.write(arguments.status_fd, json.dumps({"event": event, **more}).encode() + b"\n")

    say("started", pid=os.getpid(), metrics_address="")
    for model in settings["models"]:
        spec = {"name": model["name"], "version": model["version"]}
        say("loading", **spec)
        if "crash" in model["version"]:
            os.kill(os.getpid(), signal.SIGSEGV)
        elif "wordy" in model["version"]:
            say("loading", **spec, reason="x" * 3 * 1024 * 1024)
            say("failed", **spec, reason="too many words")
        elif "bad" in model["version"]:
            say("failed", **spec, reason="this one is bad")
        elif "hang" in model["version"]:
            time.sleep(60)
        else:
            say("ready", **spec, load_s=0.25)
    stubborn = any("stubborn" in model["version"] for model in settings["models"])
    for line in sys.stdin:
        command = json.loads(line)
        if "unload" in command:
            say("unloaded", **command["unload"])
        elif "drain" in command and not stubborn:
            break
    if not stubborn:
        say("drained")


if __name__ == "__main__":
    main()
