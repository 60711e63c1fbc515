"""The edge itself: match the route, call its endpoint, translate errors once, echo the request id."""

from router.core import Core
from router.edge.intake import request_id_from
from router.edge.rest.exchange import Direct, Endpoint, Request, Response, check_content_type
from router.edge.rest.outcome import answer, fault, refusal
from router.edge.rest.routing import Match, Routes
from router.edge.rest.table import rules
from router.front.exchange import Application, Exchange
from router.http1.heads import Head
from serving.errors import DodonaError


def rest_app(core: Core) -> Application:
    return RestApp(core)


class RestApp:
    """Fulfils router.front.exchange.Application."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._routes: Routes[Endpoint | Direct] = Routes(rules())

    def start(self, exchange: Exchange) -> None:
        head = exchange.head
        request_id = request_id_from(head.headers.get(b"x-request-id", b"").decode("latin-1"))
        try:
            if exchange.fault is not None:
                raise exchange.fault
            match = self._match(head)
            if match is None:
                Response(status=204, headers=[(b"allow", self._routes.allow(head.path).encode())]).send(
                    exchange, request_id
                )
                return
            request = Request(self._core, exchange, match.arguments, request_id)
            target = match.rule.target
            if isinstance(target, Direct):
                target.start(request)
            else:
                exchange.run(answer(target, request))
        except DodonaError as error:
            refusal(error).send(exchange, request_id)
        except Exception:
            fault(exchange, request_id)

    def vet(self, head: Head) -> DodonaError | None:
        try:
            if self._match(head) is not None:
                check_content_type(head)
        except DodonaError as error:
            return error
        return None

    def _match(self, head: Head) -> Match[Endpoint | Direct] | None:
        """None for OPTIONS, which is answered for every path. Raises DodonaError."""
        if head.method == "OPTIONS":
            self._routes.allow(head.path)
            return None
        return self._routes.match(head.method, head.path)
