"""What describes and operates: health, metadata, configuration, statistics, the repository, Apollo's routes."""

from tests.conformance.rest_http import Models, Session, arrays_for, json_inputs


def health(base_url: str, models: Models) -> None:
    with Session(base_url) as session:
        assert session.get("/v2/health/live").ok() == {"live": True}
        assert session.get("/v2/health/ready").ok() == {"ready": True}
        for model in models:
            assert session.get(f"/v2/models/{model}/ready").ok()["ready"] is True
            assert session.get(f"/v1/models/{model}").ok()["ready"] is True
        assert session.send("HEAD", "/v2/health/live").body == b""


def server_metadata(base_url: str, models: Models) -> None:
    with Session(base_url) as session:
        document = session.get("/v2").ok()
        assert document["name"] == "dodona"
        assert "binary_tensor_data" in document["extensions"]
        assert set(models) <= set(session.get("/v2/models").ok()["models"])
        assert set(models) <= set(session.get("/v1/models").ok()["models"])


def models_are_described(base_url: str, models: Models) -> None:
    with Session(base_url) as session:
        for model in models:
            metadata = session.get(f"/v2/models/{model}").ok()
            assert metadata["name"] == model
            version = metadata["versions"][-1]
            of_version = session.get(f"/v2/models/{model}/versions/{version}").ok()
            assert of_version["inputs"] == metadata["inputs"]
            config = session.get(f"/v2/models/{model}/config").ok()
            assert config["name"] == model
            assert [entry["name"] for entry in config["input"]] == [entry["name"] for entry in metadata["inputs"]]
            assert all(isinstance(extent, int) for entry in config["input"] for extent in entry["dims"])
            assert session.get(f"/v2/models/{model}/versions/{version}/config").ok() == config
            assert session.get(f"/v2/models/{model}/versions/{version}/ready").status == 200


def statistics_count(base_url: str, models: Models) -> None:
    with Session(base_url) as session:
        metadata = session.get(f"/v2/models/{models[0]}").ok()
        path = f"/v2/models/{models[0]}/versions/{metadata['versions'][-1]}"

        def succeeded() -> int:
            (entry,) = session.get(f"{path}/stats").ok()["model_stats"]
            return int(entry["inference_stats"]["success"]["count"])

        before = succeeded()
        session.post(f"{path}/infer", {"inputs": json_inputs(metadata, arrays_for(metadata))}).ok()
        assert succeeded() > before
        everything = session.get("/v2/models/stats").ok()["model_stats"]
        assert set(models) <= {entry["name"] for entry in everything}
        assert session.get(f"/v2/models/{models[0]}/stats").ok()["model_stats"]


def the_index_lists_models(base_url: str, models: Models) -> None:
    with Session(base_url) as session:
        for body in (None, {}, {"ready": True}):
            index = session.post("/v2/repository/index", body).ok()
            assert set(models) <= {entry["name"] for entry in index if entry["state"] == "READY"}


def unload_and_load(base_url: str, models: Models) -> None:
    """Needs an agent. The last model is drained and comes back."""
    model = models[-1]
    with Session(base_url) as session:
        session.post(f"/v2/repository/models/{model}/unload").ok()
        assert session.get(f"/v2/models/{model}/ready").status in (404, 503)
        session.post(f"/v2/repository/models/{model}/load").ok()
        assert session.get(f"/v2/models/{model}/ready").status == 200


def load_what_does_not_exist(base_url: str, models: Models) -> None:
    """Needs an agent."""
    with Session(base_url) as session:
        session.post("/v2/repository/models/no-such-model/load").refused(404)
        document = {"parameters": {"file:1/model.onnx": "AAAA"}}
        session.post(f"/v2/repository/models/{models[0]}/load", document).refused(501, "file:1/model.onnx")


def operating(base_url: str, models: Models) -> None:
    with Session(base_url) as session:
        routes = session.get("/").ok()["routes"]
        assert "POST /v2/models/<model>/infer" in routes
        status = session.get("/admin/v1/status").ok()
        assert set(models) <= {entry["name"] for entry in status["models"]}
        assert session.get("/_meta/0/info").ok()["serviceUptime"] >= 0
        assert session.get("/_meta/0/config").ok()["config"]["limits"]
        assert len(session.get("/_meta/0/endpoints").ok()["endpoints"]) == len(routes)


def what_is_not_offered(base_url: str, models: Models) -> None:
    with Session(base_url) as session:
        session.get("/v2/cudasharedmemory/status").refused(501, "shared memory")
        session.post("/v2/cudasharedmemory/region/r/register", {}).refused(501, "shared memory")
        session.post("/v2/cudasharedmemory/unregister").refused(501, "shared memory")
        session.get("/v2/logging").refused(501)
        session.get("/v2/trace/setting").refused(501)
        session.post(f"/v2/models/{models[0]}/generate_stream", {"text_input": "a"}).refused(501)


def methods_and_paths(base_url: str, models: Models) -> None:
    with Session(base_url) as session:
        session.get("/v2/modls").refused(404, "/v2/modls", "/v2/models")
        reply = session.get(f"/v2/models/{models[0]}/infer")
        reply.refused(405, "POST")
        assert reply.headers["allow"] == "OPTIONS, POST"
        reply = session.send("OPTIONS", f"/v2/models/{models[0]}")
        assert (reply.status, reply.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
        session.get("/v2/models/%zz").refused(400, "percent-encoding")
