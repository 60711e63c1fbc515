"""The file that tells other commands where a cluster listens."""

import orjson
import pytest

from dodona.cluster.addresses import ADDRESSES_FILE, write_addresses


@pytest.mark.parametrize(
    ("listens", "dialled"),
    [
        ("0.0.0.0:8001", "127.0.0.1:8001"),
        ("[::]:8001", "[::1]:8001"),
        (":::8001", "[::1]:8001"),
        ("10.0.0.0:8001", "10.0.0.0:8001"),
        ("unix:/run/link.sock", "unix:/run/link.sock"),
    ],
)
def test_wildcards_become_addresses_that_can_be_dialled(tmp_path, listens, dialled):
    """Whoever reads the file dials what it finds."""
    write_addresses(tmp_path, {"grpc": listens})
    assert orjson.loads((tmp_path / ADDRESSES_FILE).read_bytes()) == {"grpc": dialled}
