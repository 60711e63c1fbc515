"""The reference pages tell the truth."""

import re
from pathlib import Path

from protos import inference_pb2 as oip
from router.edge.grpc.service import REFUSED
from router.edge.grpc.stream import MAX_IN_FLIGHT
from serving import errors
from serving.errors import DodonaError

REFERENCE = Path(__file__).parents[4] / "docs" / "reference"


def test_every_error_is_in_the_table_with_its_status() -> None:
    """errors.md lists each subclass of DodonaError, its gRPC status and its HTTP status."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (\d+) \|", (REFERENCE / "errors.md").read_text(), re.MULTILINE)
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, DodonaError)]
    expected = {
        (kind.__name__, kind.status.name, str(kind("").http_status)) for kind in kinds if kind is not DodonaError
    }
    assert set(rows) == expected


def test_every_rpc_is_described_and_every_refusal_is_said() -> None:
    """protocol.md has a row for each method; those that are refused say so there."""
    text = (REFERENCE / "protocol.md").read_text()
    rows = dict[str, str]()
    for cells, meaning in re.findall(r"^\| (`[^|]+) \| ([^|]+) \|$", text, re.MULTILINE):
        rows.update((name, meaning) for name in re.findall(r"`(\w+)`", cells))
    (service,) = oip.DESCRIPTOR.services_by_name.values()
    for method in service.methods:
        assert (rows[method.name] == "UNIMPLEMENTED") == (method.name in REFUSED)
    assert f"up to {MAX_IN_FLIGHT} of one stream" in text
