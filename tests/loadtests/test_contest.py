"""The accounting of a load: what h2load cannot see is still noticed."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from loadtests.bench.contest import Entrant, Plan, round_of, unaccounted
from loadtests.bench.trial import Trial
from loadtests.bench.workloads import TREES, WORKLOADS, Case, cases
from loadtests.bodies import Row, instances_load
from loadtests.h2load import Load, Outcome
from loadtests.peers.peer import Protocol

SIZE = 57


def outcome(succeeded: int, data_bytes: int) -> Outcome:
    return Outcome(1000, succeeded, 1.0, [0.001], data_bytes)


def test_a_load_without_fault_has_no_fault() -> None:
    """Every request answered, every answer as long as a right one, the server agrees."""
    assert unaccounted(outcome(1000, 1000 * SIZE), 1000, SIZE, 1000) == ""


def test_a_grpc_error_is_noticed_by_its_missing_bytes() -> None:
    """h2load counts 200 for an error in the trailers; the message that is missing gives it away."""
    assert "some were errors" in unaccounted(outcome(1000, 999 * SIZE), 1000, SIZE, None)


@pytest.mark.parametrize(
    ("found", "own_count", "words"),
    [(outcome(998, 1000 * SIZE), 1000, "998 answered"), (outcome(1000, 1000 * SIZE), 997, "counts 997 successes")],
)
def test_every_other_count_must_agree(found: Outcome, own_count: int, words: str) -> None:
    """HTTP failures and the server's own count are looked at too."""
    assert words in unaccounted(found, 1000, SIZE, own_count)


def test_answers_of_varying_length_are_not_judged_by_it() -> None:
    """Then the server's own count is what is left."""
    assert unaccounted(outcome(1000, 12345), 1000, None, 1000) == ""


def test_the_cases_cover_every_number_in_flight() -> None:
    """One gRPC case for each number asked for, one multiplexed, REST in both forms."""
    names = [case.name for case in cases(TREES, [1, 8])]
    assert names[:3] == ["gRPC, 1 in flight", "gRPC, 8 in flight", "gRPC, 32 streams on one connection"]
    assert {"REST binary, 32 in flight", "REST JSON, 32 in flight"} <= set(names)


def test_no_two_cases_have_one_name() -> None:
    """Figures are kept by the case's name, whatever the workload."""
    names = [case.name for workload in WORKLOADS.values() for case in cases(workload, [1, 8, 32, 64], [1, 8, 32])]
    assert len(names) == len(set(names))


class FakeServer:
    """Says what it is told to, to `round_of`, without a process."""

    name = "fake"
    speaks: tuple[Protocol, ...] = ()
    answers_vary = False
    inspected = False
    ready_s = 1.0
    pids: ClassVar[dict[str, int]] = {}


def test_a_case_that_no_one_speaks_is_sat_out() -> None:
    """A server without gRPC has no gRPC row; it is not a failure."""
    server = FakeServer()
    assert Case("x", ("grpc",), 1).protocol(server) is None  # type: ignore[arg-type]
    server.speaks = ("instances",)
    assert Case("x", ("json", "instances"), 1).protocol(server) == "instances"  # type: ignore[arg-type]
    server.speaks = ("grpc",)
    assert Case("x", ("grpc",), 1, analysed=True).protocol(server) is None  # type: ignore[arg-type]


class Zeros(http.server.BaseHTTPRequestHandler):
    """Answers 0 to everything."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        body = b'{"predictions": [[0.0]]}'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def zeros() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Zeros) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/predict"
        server.shutdown()
        thread.join()


def test_a_round_with_wrong_answers_leaves_no_figures(zeros: str) -> None:
    """What was measured before the answers turned out wrong does not count."""
    server = FakeServer()
    server.speaks = ("instances",)

    def load(protocol: Protocol, row: Row, connections: int, streams: int = 1) -> Load:
        return instances_load(zeros, row, connections=connections)

    server.load = load  # type: ignore[attr-defined]
    entrant = Entrant("fake", "Fake", "", start=lambda _: nullcontext(server))  # type: ignore[arg-type, return-value]
    trial = Trial(TREES, None, np.zeros((2, 30), np.float32), np.ones((2, 1), np.float32), Path(), Path())  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="2 of 2 answers by instances are wrong before"):
        round_of(entrant, 0, Plan(trial, [], 0.1), lambda _: None)
    assert (entrant.figures, entrant.ready_s) == ({}, [])
