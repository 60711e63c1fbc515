"""What both clients share of gRPC: channel options, metadata, request ids, the text of a failure."""

import itertools
import os
import sys
from collections.abc import Iterable
from typing import Any, Final

import grpc
import grpc.aio
import orjson

from dodona.client.failures import translate
from dodona.client.options import Options
from serving.errors import DodonaError

# A name that stands for several routers is used in turn: one HTTP/2 connection would pin all calls to one of them.
_SERVICE_CONFIG: Final = orjson.dumps({"loadBalancingConfig": [{"round_robin": {}}]}).decode()
_MAX_RECONNECT_MS: Final = 5_000

# Asks that a stream ends with a failure's status instead of answering its text alone; Triton and Dodona know it.
ERROR_AS_STATUS: Final = ("triton_grpc_error", "true")


def channel_arguments(options: Options) -> list[tuple[str, Any]]:
    return [
        ("grpc.max_send_message_length", options.max_message_bytes),
        ("grpc.max_receive_message_length", options.max_message_bytes),
        ("grpc.service_config", _SERVICE_CONFIG),
        # C-core waits up to two minutes before it tries a server again; a cluster that restarts is back in seconds.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", _MAX_RECONNECT_MS),
    ]


def credentials(options: Options) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(options.ca or None, options.key or None, options.certificate or None)


class RequestIds:
    """Ids that differ between clients and calls, and cost next to nothing: a random start, then a count."""

    def __init__(self) -> None:
        self._prefix = os.urandom(8).hex()
        self._count = itertools.count()

    def new(self) -> str:
        return f"{self._prefix}-{next(self._count):x}"


def call_metadata(options: Options, request_id: str) -> tuple[tuple[str, str], ...]:
    return (*options.headers, ("x-request-id", request_id), *trace_metadata(options.headers))


def trace_metadata(given: Iterable[tuple[str, str]] = ()) -> Iterable[tuple[str, str]]:
    """The current span of a program that uses OpenTelemetry, by its own propagators; what the caller gave stands.

    Looked up, not imported: a program that does not use it pays nothing for it.
    """
    if "opentelemetry.trace" not in sys.modules:
        return ()
    from opentelemetry.propagate import inject

    carrier: dict[str, str] = {}
    inject(carrier)
    names = {name for name, _ in given}
    return [(name.lower(), value) for name, value in carrier.items() if name.lower() not in names]


def text_metadata(*parts: Iterable[tuple[str, str | bytes]] | None) -> dict[str, str]:
    """Initial and trailing metadata as one mapping; binary values are left out."""
    return {name: value for part in parts for name, value in part or () if isinstance(value, str)}


def failure(
    error: grpc.RpcError | grpc.aio.AioRpcError, options: Options, timeout_s: float, request_id: str
) -> DodonaError:
    """A failed call as Dodona's error. Both kinds of grpc error carry the same four answers."""
    call: Any = error
    return translate(
        call.code().value[0],
        call.details() or "",
        text_metadata(call.initial_metadata(), call.trailing_metadata()),
        address=str(options.address),
        timeout_s=timeout_s,
        request_id=request_id,
    )
