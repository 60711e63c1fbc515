"""All routes of the REST edge. The sentences are what `GET /` and `/_meta/0/endpoints` show."""

from router.edge.rest import describing, generate, operating, repository, shared_memory, v1
from router.edge.rest.exchange import Direct, Endpoint, Request, Response
from router.edge.rest.infer import infer_tensors
from router.edge.rest.routing import Rule
from router.edge.unoffered import CUDA_SHARED_MEMORY, LOG, TRACE, unoffered

EndpointRule = Rule[Endpoint | Direct]


def rules() -> list[EndpointRule]:
    table: list[EndpointRule] = []
    table += [
        Rule("GET", "/", operating.root(table), "This list"),
        Rule("GET", "/v2/health/live", describing.server_live, "Whether the router runs"),
        Rule("GET", "/v2/health/ready", describing.server_ready, "Whether it takes requests for all models"),
        Rule("GET", "/v2", describing.server_metadata, "Name, version and protocol extensions"),
        Rule("GET", "/v2/models", describing.model_names, "Names of the models that are ready"),
        Rule("GET", "/v2/models/stats", describing.model_statistics, "Statistics of all models"),
    ]
    for of_version in ("", "/versions/<version>"):
        table += _of_model(f"/v2/models/<model>{of_version}")
    table += [
        Rule("POST", "/v2/repository/index", repository.repository_index, "State of every version"),
        *_of_repository("/v2/repository/models/<model>"),
        *_of_repository("/v2/repository/<repository>/models/<model>"),
        Rule("GET", "/v1/models", v1.list_models, "Names of the models that are ready"),
    ]
    for of_version in ("", "/versions/<version>", "/labels/<version>"):
        path = f"/v1/models/<model>{of_version}"
        table += [
            Rule("GET", path, v1.model_status, "Whether a model is ready (KServe, TensorFlow Serving)"),
            Rule("POST", f"{path}:predict", v1.predict_rows, "Predict from rows, records or columns"),
        ]
    table += [
        Rule("GET", "/admin/v1/status", operating.status, "Workers, models and queues"),
        Rule("GET", "/_meta/0/info", operating.meta_info, "Version and uptime"),
        Rule("GET", "/_meta/0/config", operating.meta_config, "Settings in effect, without secrets"),
        Rule("GET", "/_meta/0/endpoints", operating.meta_endpoints(table), "All routes, in Apollo's form"),
    ]
    table += _of_shared_memory()
    table += _unsupported()
    return table


def _of_model(path: str) -> list[EndpointRule]:
    return [
        Rule("GET", path, describing.model_metadata, "Versions, inputs and outputs of a model"),
        Rule("GET", f"{path}/ready", describing.model_ready, "Whether a model is ready"),
        Rule("GET", f"{path}/config", describing.model_config, "A model's configuration, in Triton's form"),
        Rule("GET", f"{path}/stats", describing.model_statistics, "Statistics of a model"),
        Rule("POST", f"{path}/infer", infer_tensors, "Infer from tensors, JSON or binary"),
        Rule("POST", f"{path}/generate", generate.generate, "Infer from text to text"),
        Rule("POST", f"{path}/generate_stream", generate.generate_stream, "Refused: no runtime answers in pieces"),
    ]


def _of_repository(path: str) -> list[EndpointRule]:
    return [
        Rule("POST", f"{path}/load", repository.load_model, "Load or reload a model"),
        Rule("POST", f"{path}/unload", repository.unload_model, "Drain and unload a model"),
    ]


def _of_shared_memory() -> list[EndpointRule]:
    path = "/v2/systemsharedmemory"
    table: list[EndpointRule] = []
    for of_region in ("", "/region/<region>"):
        table += [
            Rule("GET", f"{path}{of_region}/status", shared_memory.status, "Registered regions of shared memory"),
            Rule("POST", f"{path}{of_region}/unregister", shared_memory.unregister, "Let go of shared memory"),
        ]
    return [*table, Rule("POST", f"{path}/region/<region>/register", shared_memory.register, "Register shared memory")]


def _unsupported() -> list[EndpointRule]:
    """Triton's routes that answer 501 with the reason, so that a client learns why, not that the path is wrong."""
    table: list[EndpointRule] = []
    refuse = _refuser(CUDA_SHARED_MEMORY)
    path = "/v2/cudasharedmemory"
    for method, verbs in (("GET", ("status",)), ("POST", ("register", "unregister"))):
        paths = [f"{path}/region/<region>/{verb}" for verb in verbs] + [f"{path}/{verbs[-1]}"]
        table += [Rule(method, path, refuse, "Refused: no CUDA shared memory") for path in paths]
    refuse = _refuser(TRACE)
    for path in ("/v2/trace/setting", "/v2/models/<model>/trace/setting"):
        table += [Rule(method, path, refuse, "Refused: no trace settings") for method in ("GET", "POST")]
    refuse = _refuser(LOG)
    table += [Rule(method, "/v2/logging", refuse, "Refused: no log settings") for method in ("GET", "POST")]
    return table


def _refuser(why: tuple[str, str]) -> Endpoint:
    async def refuse(_: Request) -> Response:
        raise unoffered(why)

    return refuse
