"""What people and their tools ask of the server itself: the list of routes, status, and Apollo's `/_meta` routes."""

import platform
from collections.abc import Sequence

import orjson

from router.edge import describe
from router.edge.describe import SERVER_NAME, server_version
from router.edge.rest.exchange import Direct, Endpoint, Request, Response, as_json
from router.edge.rest.plain import plain
from router.edge.rest.routing import Rule

Rules = Sequence[Rule[Endpoint | Direct]]


def root(rules: Rules) -> Endpoint:
    """Every route with its sentence, one a line; "status": "alive" is what KServe's v1 clients look for."""

    async def list_routes(_: Request) -> Response:
        document = {
            "name": SERVER_NAME,
            "version": server_version(),
            "status": "alive",
            "routes": {f"{rule.method} {rule.template}": rule.text for rule in rules},
        }
        return Response(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))

    return list_routes


async def status(request: Request) -> Response:
    return as_json(plain(await describe.status(request.core)))


async def meta_info(request: Request) -> Response:
    core = request.core
    return as_json(
        {
            "componentId": core.settings.name,
            "buildVersion": f"{SERVER_NAME} {server_version()}",
            "systemVersion": f"{platform.python_implementation()} {platform.python_version()}",
            "serviceUptime": round(core.clock() - core.started_at, 3),
        }
    )


async def meta_config(request: Request) -> Response:
    """The settings in effect; secrets are starred out by their type."""
    return as_json({"config": request.core.settings.model_dump(mode="json")})


def meta_endpoints(rules: Rules) -> Endpoint:
    async def list_endpoints(_: Request) -> Response:
        endpoints = [
            {"uri": rule.template, "method": [rule.method], "methodName": rule.target.__name__, "docstring": rule.text}
            for rule in rules
        ]
        return as_json({"docstring": "Dodona's REST edge", "endpoints": endpoints})

    return list_endpoints
