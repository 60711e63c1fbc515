"""Random and damaged bytes at every place that reads a message: only the named errors come out, and nothing hangs.

    python -m tests.fuzz_messages --examples 1000000 [--first SEED]

An example is a function of its seed: a place, a good message for it, and damage (bits turned, bytes cut out, put in,
repeated, or all of them random). Prints every seed that fails; exit 1 if there was one. `tests/test_fuzz_messages.py`
runs the first few thousand.
"""

import argparse
import random
import sys
import traceback
from collections.abc import Callable

from protos import link_pb2
from serving.errors import DodonaError
from serving.link.framing import FrameReader, LinkError, cut, encode
from serving.worker.decode import Decoder
from tests.router.cluster import Caller, Cluster, Worker, model
from tests.router.cluster import request as routed
from tests.serving.worker.requests import ROW, request, rows

_GOOD = request({"x": rows(2)}, request_id="r", outputs=["y"]).SerializeToString()


def damaged(rng: random.Random, good: bytes) -> bytes:
    """`good`, hardly or not at all the same."""
    if rng.random() < 0.1:
        return rng.randbytes(rng.randrange(200))
    out = bytearray(good)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(out) + 1)
        act = rng.randrange(5)
        if act == 0 and out:
            out[at % len(out)] ^= 1 << rng.randrange(8)
        elif act == 1 and out:
            out[at % len(out)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif act == 2:
            del out[at : at + rng.randrange(1, 20)]
        elif act == 3:
            out[at:at] = rng.randbytes(rng.randrange(1, 12))
        else:
            out[at:at] = out[rng.randrange(len(out) + 1) :][: rng.randrange(40)]
    return bytes(out)


def frames(rng: random.Random) -> None:
    """The link's framing, torn anywhere."""
    parts = [rng.randbytes(rng.randrange(40)) for _ in range(rng.randrange(5))]
    work = link_pb2.Work(ids=range(len(parts)), sizes=[len(part) for part in parts])
    stream = damaged(rng, b"".join(encode(link_pb2.Envelope(work=work), parts)) * rng.randrange(1, 4))
    reader = FrameReader(max_frame_bytes=10_000)
    try:
        while stream:
            at = rng.randrange(1, len(stream) + 1)
            for envelope, payload in reader.feed(stream[:at]):
                cut(payload, envelope.work.sizes)
            stream = stream[at:]
    except LinkError:
        return
    assert reader.pending <= 10_004


def router_hears(rng: random.Random) -> None:
    """What a worker says to a router that has given it work. Every caller is answered once, whatever it was."""
    cluster = Cluster()
    broken, good = Worker(cluster, "broken"), Worker(cluster, "good")
    broken.serve(model())
    callers: list[Caller] = [cluster.call(timeout_s=5.0) for _ in range(rng.randrange(1, 8))]
    ids = rng.sample(range(1, len(callers) + 3), rng.randrange(1, len(callers) + 1))
    said = rng.choice(
        (
            link_pb2.Envelope(
                results=link_pb2.Results(
                    handle=1, ids=ids, sizes=[2] * len(ids), queue_us=[5] * len(ids), rows=len(ids)
                )
            ),
            link_pb2.Envelope(models=link_pb2.Models(models=[model(), model("n", "2", 2)])),
            link_pb2.Envelope(credit=link_pb2.Credit(handle=1, window_rows=3)),
        )
    )
    try:
        envelope = link_pb2.Envelope.FromString(damaged(rng, said.SerializeToString()))
    except Exception:  # what is no envelope ends at the framing
        envelope = said
    payload = damaged(rng, b"ok" * len(ids)) if rng.random() < 0.5 else b"ok" * len(ids)
    try:
        cluster.core.peers.heard(broken.replica, envelope, memoryview(payload))
        cluster.turn()
    except LinkError:
        broken.die()
    good.serve(model(), window=100)
    good.answer(*good.work)
    cluster.advance(10.0)
    for caller in callers:
        assert (caller.reply is None) != (caller.error is None), callers
    assert cluster.core.dispatcher.in_flight == 0


def router_reads_requests(rng: random.Random) -> None:
    """A caller's message, of which the router decodes the routing fields."""
    cluster = Cluster()
    Worker(cluster, "w").serve(model())
    try:
        cluster.call(damaged(rng, routed(id="i" * rng.randrange(9))), timeout_s=1.0)
    except DodonaError:
        return
    cluster.advance(2.0)
    assert cluster.core.dispatcher.in_flight == 0


def worker_decodes(rng: random.Random) -> None:
    """The same message where its tensors are read."""
    decode = Decoder(ROW, max_batch_rows=100, text_inputs=frozenset()).decode
    try:
        decoded = decode(damaged(rng, _GOOD))
    except DodonaError:
        return
    assert 1 <= decoded.rows <= 100


PLACES: tuple[Callable[[random.Random], None], ...] = (frames, router_hears, router_reads_requests, worker_decodes)


def failing(seed: int) -> str:
    """What is wrong with a seed, or nothing."""
    rng = random.Random(seed)
    place = PLACES[seed % len(PLACES)]
    try:
        place(rng)
    except Exception:  # anything but the named errors is a find
        return f"{place.__name__}: {traceback.format_exc(limit=-3)}"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    failed = 0
    for seed in range(options.first, options.first + options.examples):
        if fault := failing(seed):
            failed += 1
            print(f"seed {seed}: {fault}", flush=True)
        if seed % 50_000 == 49_999:
            print(f"{seed + 1 - options.first} of {options.examples}, {failed} failed", flush=True)
    print(f"{options.examples} examples from seed {options.first}, {failed} failed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
