"""Health, metadata, configuration and statistics: `describe`'s messages as Triton's and KServe's JSON."""

from router.edge import describe
from router.edge.rest.exchange import Request, Response, as_json
from router.edge.rest.plain import plain
from serving.errors import Unavailable


async def server_live(request: Request) -> Response:
    live = request.core.live
    return as_json({"live": live}, 200 if live else 503)


async def server_ready(request: Request) -> Response:
    ready = request.core.ready
    return as_json({"ready": ready}, 200 if ready else 503)


async def server_metadata(request: Request) -> Response:
    return as_json(plain(describe.server_metadata(request.core)))


async def model_names(request: Request) -> Response:
    """Names of the models with a ready version, as KServe lists them."""
    names = {entry.name: None for entry in request.core.catalogue.index(ready_only=True)}
    return as_json({"models": list(names)})


async def model_metadata(request: Request) -> Response:
    return as_json(plain(describe.model_metadata(request.core, request.model, request.version)))


async def model_ready(request: Request) -> Response:
    pool = request.core.catalogue.pool(request.model, request.version)
    if not pool.ready:
        raise Unavailable(f"model {pool.spec} is not ready", remedy="`dodona models` shows the state of every model")
    return as_json({"name": request.model, "ready": True})


async def model_config(request: Request) -> Response:
    return as_json(plain(describe.model_config(request.core, request.model, request.version).config))


async def model_statistics(request: Request) -> Response:
    model = request.arguments.get("model", "")
    return as_json(plain(await describe.model_statistics(request.core, model, request.version)))
