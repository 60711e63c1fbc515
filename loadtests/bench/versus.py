"""What a setting costs: Dodona as it is against Dodona with other settings, by turns in one run.

    python -m loadtests.bench.versus --against router.limits.max_pending=500
    python -m loadtests.bench.versus --settings router.front=http2 --against router.front=grpcio --protocol grpc

Keys are those of dodona.yaml, values are YAML; both options may be given several times. The ratio is CPU per request
with `--settings` (none: the defaults) to that with `--against`, so a feature that is switched off by `--against` costs
what the ratio is above 1. Each start of both clusters gives as many pairs of one-second slices as `--pairs` says.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from examples.progress import console, step
from loadtests.answers import ask
from loadtests.bench.openloop import message_of
from loadtests.bench.pairs import Estimate, Side, cpu_us, estimate, ratios
from loadtests.bench.trial import Trial, prepared
from loadtests.bench.workloads import TREES
from loadtests.peers import dodona
from loadtests.peers.peer import Protocol
from loadtests.processes import exact_cpu_s
from loadtests.subject import joined
from serving.errors import DodonaError

CACHE = Path(".cache/peers")
SLICE_S = 1.0


def settings_of(words: Sequence[str]) -> dict[str, Any]:
    """`router.x.y=1` as {"router": {"x": {"y": 1}}}, all together. Raises ValueError for what has another form."""
    made: dict[str, Any] = {}
    for word in words:
        path, sign, value = word.partition("=")
        if not sign or not all(path.split(".")):
            raise ValueError(f"{word!r} is not a setting: write KEY.KEY=VALUE, as in router.front=grpcio")
        block: Any = yaml.safe_load(value)
        for name in reversed(path.split(".")):
            block = {name: block}
        made = joined(made, block)
    return made


def compared(
    trial: Trial,
    work: Path,
    settings: Mapping[str, Any],
    against: Mapping[str, Any],
    *,
    protocol: Protocol = "grpc",
    starts: int = 3,
    pairs: int = 10,
) -> Estimate:
    """CPU per request with `settings` to that with `against`. Raises DodonaError, RuntimeError."""
    found: list[float] = []
    for _ in range(starts):
        with (
            dodona.started(trial, work / "with", "http2", settings) as one,
            dodona.started(trial, work / "against", "http2", against) as other,
        ):
            sides = [side_of(name, server, trial, protocol) for name, server in (("with", one), ("against", other))]
            for side in sides:
                cpu_us(side, SLICE_S)
            found += ratios(sides[0], sides[1], pairs, partial(cpu_us, seconds=SLICE_S))
    return estimate(found)


def side_of(name: str, server: dodona.Dodona, trial: Trial, protocol: Protocol) -> Side:
    load = server.load(protocol, trial.rows[0], 1)
    return Side(name, message_of(load, ask(load).size, None), lambda: exact_cpu_s(server.pids.values()))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.bench.versus", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--settings", action="append", default=[], metavar="KEY=VALUE", help="of the one side")
    parser.add_argument("--against", action="append", default=[], metavar="KEY=VALUE", help="of the other")
    parser.add_argument("--protocol", choices=("grpc", "binary", "json"), default="grpc")
    parser.add_argument("--starts", type=int, default=3, help="of both clusters (1 to 20)")
    parser.add_argument("--pairs", type=int, default=10, help="of slices, a start (2 to 200)")
    parser.add_argument("--work", type=Path, default=Path(".dodona/bench"), help="folder for models and logs")
    asked = parser.parse_args(arguments)
    if not (1 <= asked.starts <= 20 and 2 <= asked.pairs <= 200):
        parser.error("--starts or --pairs is out of range")
    try:
        settings, against = settings_of(asked.settings), settings_of(asked.against)
        trial = prepared(TREES, "onnx", asked.work, CACHE)
        with step(f"{asked.starts} starts of two clusters, {asked.pairs} pairs each"):
            found = compared(
                trial,
                asked.work,
                settings,
                against,
                protocol=asked.protocol,
                starts=asked.starts,
                pairs=asked.pairs,
            )
    except (ValueError, RuntimeError, OSError, DodonaError) as error:
        console.print(f"[red]{error}[/]", highlight=False, soft_wrap=True)
        return 1
    one, other = " ".join(asked.settings) or "defaults", " ".join(asked.against) or "defaults"
    console.print(f"CPU per request, {one} to {other}: {found.words}", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
