"""`python -m router.edge.rest.beside`: the process of `aside`. Frames on standard input, frames on standard output."""

import pickle
import signal
import sys
from typing import Any, BinaryIO

from router.edge.rest.aside import FRAME, FUNCTIONS


def main(source: BinaryIO, sink: BinaryIO) -> None:
    """Until `source` ends."""
    while len(start := source.read(FRAME.size)) == FRAME.size:
        size, body_size = FRAME.unpack(start)
        function, arguments, options = pickle.loads(source.read(size))
        text = pickle.dumps(_outcome(function, source.read(body_size), arguments, options), protocol=5)
        sink.write(FRAME.pack(len(text), 0))
        sink.write(text)
        sink.flush()


def _outcome(function: str, body: bytes, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    try:
        return FUNCTIONS[function](body, *arguments, **options)
    except Exception as error:  # raised again where the work came from
        return error


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the router, whose end is ours
    main(sys.stdin.buffer, sys.stdout.buffer)
