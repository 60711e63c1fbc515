"""The load generator of the open loop, against real servers: every request once, latency from when it was due."""

import asyncio
import http.server
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise

import grpc
import pytest

from loadtests.bench.generator import Job, Run, arrivals, generate, quantile
from loadtests.bench.wire import LARGEST_BODY, Broken, Message, chunked

PATH = "/inference.GRPCInferenceService/ModelInfer"
MESSAGE = b"\0\0\0\0\x05hello"
HEADERS = (("content-type", "application/grpc"), ("te", "trailers"))


@contextmanager
def grpc_server(refuse_every: int = 0, delay_s: float = 0.0) -> Iterator[int]:
    """The port of an echo that refuses every so many-th call."""
    asked = 0

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        nonlocal asked
        asked += 1
        if delay_s:
            threading.Event().wait(delay_s)
        if refuse_every and asked % refuse_every == 0:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much")
        return request

    server = grpc.server(ThreadPoolExecutor(1))
    service, method = PATH[1:].split("/")
    rpc = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: rpc}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None).wait()


def message(port: int) -> Message:
    return Message("127.0.0.1", port, PATH, HEADERS, MESSAGE, len(MESSAGE))


def test_arrivals_are_poisson_and_repeatable() -> None:
    """The same seed gives the same times; the gaps' spread equals their mean."""
    times = list(arrivals(1000.0, 20.0, 7))
    assert times == list(arrivals(1000.0, 20.0, 7))
    gaps = [after - before for before, after in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(0.001, rel=0.03)
    assert sum((gap - mean) ** 2 for gap in gaps) / len(gaps) == pytest.approx(mean**2, rel=0.1)


def test_every_grpc_request_is_sent_once_and_errors_are_told_from_answers() -> None:
    """An error has status 200 too; the message that is missing gives it away."""
    with grpc_server(refuse_every=4) as port:
        result = generate(Job(message(port), 3, 1.0, rate=300.0, warm_up_s=0.0, seed=5))
    assert result.due == result.sent == len(list(arrivals(300.0, 1.0, 5)))
    assert result.refused == result.due // 4
    assert len(result.latencies_s) == result.due - result.refused
    assert result.unsent == 0
    assert len(result.late_s) == result.due
    assert 0 < result.cpu_us < 5000


def test_waiting_behind_others_counts() -> None:
    """A server that takes 10 ms a call and is asked four times as often: latency grows to what the queue has become,
    and hardly anything is in time."""
    with grpc_server(delay_s=0.01) as port:
        job = Job(message(port), 1, 0.6, rate=400.0, warm_up_s=0.0, deadline_s=0.05)
        result = Run(job).finish()
    assert result.quantile_s(0.99) > 0.3
    assert result.goodput < 60


def test_a_closed_loop_keeps_so_many_in_flight() -> None:
    """One at a time with 10 ms a call makes at most 100 a second, and each takes at least that long."""
    with grpc_server(delay_s=0.01) as port:
        result = Run(Job(message(port), 1, 0.5, in_flight=1, warm_up_s=0.0)).finish()
    assert 10 <= result.rate <= 100
    assert result.latencies_s[0] >= 0.01


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers every third request with 503."""

    protocol_version = "HTTP/1.1"
    asked = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        Answers.asked += 1
        self.send_response(503 if Answers.asked % 3 == 0 else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def test_rest_has_one_request_a_connection_at_a_time() -> None:
    """Status and length of each answer are looked at; what finds no connection waits, and its latency runs."""
    Answers.asked = 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        sent = Message("127.0.0.1", server.server_port, "/predict", (), b"{}", 2, http1=True)
        result = Run(Job(sent, 4, 0.5, rate=100.0, warm_up_s=0.0)).finish()
        server.shutdown()
        thread.join()
    assert result.due == Answers.asked
    assert result.refused == result.due // 3
    assert result.unsent == 0


def test_a_chunked_answer_is_read_to_its_end() -> None:
    """Wherever the text breaks off, the end is known to be missing; what follows is the next answer's."""
    text = b"3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"
    assert chunked(text + b"HTTP/1.1", 0) == (19, len(text))
    assert all(chunked(text[:cut], 0)[1] > cut for cut in range(len(text)))


def test_a_server_that_goes_away_ends_the_run() -> None:
    """Half a load is no measurement."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Broken, match="closed the connection"):
            await asyncio.to_thread(lambda: Run(Job(message(port), 1, 0.1, rate=10.0)))
        server.close()
        await server.wait_closed()

    asyncio.run(run())


def test_what_cannot_be_measured_is_refused() -> None:
    """Both kinds of loop at once, and a body that does not fit a frame."""
    with pytest.raises(ValueError, match="give one of them"):
        Job(message(1), 1, 1.0)
    with grpc_server() as port, pytest.raises(ValueError, match="fit one frame"):
        Run(Job(Message("127.0.0.1", port, PATH, HEADERS, b"x" * (LARGEST_BODY + 1), 1), 1, 0.1, rate=1.0))


def test_quantiles_of_nothing_are_no_number() -> None:
    """And of something the value below which the share lies."""
    assert quantile([1.0, 2.0, 3.0], 0.5) == 2.0
    assert str(quantile([], 0.5)) == "nan"
