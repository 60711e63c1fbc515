"""The edge itself: match the route, call its endpoint, translate errors once, echo the request id."""

from router.core import Core
from router.edge.intake import request_id_from
from router.edge.rest.aside import Aside
from router.edge.rest.exchange import Direct, Endpoint, Plan, Request, Response, check_content_type
from router.edge.rest.outcome import answer, fault, refusal
from router.edge.rest.routing import Routes
from router.edge.rest.table import rules
from router.edge.rest.templates import Shelf
from router.front.exchange import Application, Exchange
from router.http1.heads import Head
from serving.errors import DodonaError


def rest_app(core: Core) -> Application:
    return RestApp(core)


class RestApp:
    """Fulfils router.front.exchange.Application."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._aside = Aside()
        self._shelf = Shelf()
        self._routes: Routes[Endpoint | Direct] = Routes(rules())

    def start(self, exchange: Exchange) -> None:
        head = exchange.head
        plan: Plan | None = head.plan
        request_id = plan.request_id if plan is not None else _callers_id(head)
        if not request_id:
            request_id = request_id_from(None)
        try:
            if exchange.fault is not None:
                raise exchange.fault
            if head.method == "OPTIONS":
                self._options(exchange, request_id)
                return
            if plan is None:
                plan = self._plan(head)
            target = plan.target
            request = Request(self._core, exchange, plan, request_id, self._aside, self._shelf)
            if isinstance(target, Direct):
                target.start(request)
            else:
                exchange.run(answer(target, request))
        except DodonaError as error:
            refusal(error).send(exchange, request_id)
        except Exception:
            fault(exchange, request_id)

    async def close(self) -> None:
        await self._aside.close()

    def _plan(self, head: Head) -> Plan:
        match = self._routes.match(head.method, head.path)
        plan = head.plan = Plan(match.rule.target, match.arguments, _callers_id(head))
        return plan

    def _options(self, exchange: Exchange, request_id: str) -> None:
        allow = self._routes.allow(exchange.head.path)
        Response(status=204, headers=[(b"allow", allow.encode())]).send(exchange, request_id)

    def vet(self, head: Head) -> DodonaError | None:
        try:
            if head.method == "OPTIONS":
                self._routes.allow(head.path)
            else:
                self._routes.match(head.method, head.path)
                check_content_type(head)
        except DodonaError as error:
            return error
        return None


def _callers_id(head: Head) -> str:
    """The caller's request id where it is fit to be used, else ""."""
    given = head.headers.get(b"x-request-id", b"").decode("latin-1")
    return given if request_id_from(given) == given else ""
