"""Kept answers with real processes: a hit, its figures, and its end when the model is changed under its number."""

import json
import urllib.request
from pathlib import Path
from typing import Any

from dodona.cluster import running
from dodona.config import ClusterSettings
from router.settings import RouterSettings
from serving.agent.settings import Supervise
from tests.integration.up import pack_echo, until


def ask(address: str, value: float) -> tuple[dict[str, Any], str]:
    """The reply's document and its Cache-Status."""
    body = {"id": "7", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [value, 2.0]}]}
    request = urllib.request.Request(f"http://{address}/v2/models/echo/infer", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply), reply.headers.get("cache-status", "")


def test_kept_answers_end_with_the_content_that_gave_them(tmp_path: Path) -> None:
    """What was answered is answered again without a run; after a change of model.yaml it runs again."""
    pack_echo(tmp_path / "models", "echo")
    definition = tmp_path / "models" / "echo" / "model.yaml"
    plain = definition.read_text()
    definition.write_text(plain + "response_cache: {enabled: true}\n")
    settings = ClusterSettings(
        repository=str(tmp_path / "models"),
        run_folder=str(tmp_path / "run"),
        log_file=str(tmp_path / "cluster.log"),
        router=RouterSettings(grpc_port=0, http_port=0, metrics_port=0),
        supervise=Supervise(poll_interval_s=0.1),
    )
    with running(settings) as cluster:
        assert [version.state for version in cluster.ready(30.0)] == ["READY"]
        first, again = ask(cluster.http_address, 1.0), ask(cluster.http_address, 1.0)
        assert (first[1], again[1]) == ("", "dodona; hit")
        assert first[0] == again[0]
        assert ask(cluster.http_address, 3.0)[0]["outputs"][0]["data"] == [3.0, 2.0]
        with urllib.request.urlopen(f"http://{cluster.metrics_address}/metrics", timeout=10) as page:
            lines = page.read().decode().splitlines()
        assert 'nv_cache_num_hits_per_model{model="echo",version="1"} 1.0' in lines
        assert 'dodona_cache_entries{model="echo",version="1"} 2.0' in lines
        definition.write_text(plain + "response_cache: {enabled: true}\noptions: {delay_s: 0.001}\n")
        until(lambda: ask(cluster.http_address, 1.0)[1] == "")
        until(lambda: ask(cluster.http_address, 1.0)[1] == "dodona; hit")
