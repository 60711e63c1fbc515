import pytest

from router.edge.rest.routing import Routes, Rule, WrongMethod
from router.edge.rest.table import rules
from serving.errors import InvalidRequest, ModelNotFound


def routes(*templates: str) -> Routes[str]:
    """Each "METHOD /path" answers with itself."""
    return Routes([Rule(*text.split(" "), target=text, text="") for text in templates])


@pytest.mark.parametrize(
    ("path", "target", "arguments"),
    [
        (b"/", "GET /", {}),
        (b"/models", "GET /models", {}),
        (b"/models/iris", "GET /models/<model>", {"model": "iris"}),
        (b"/models/stats", "GET /models/stats", {}),
        (b"/models/iris:predict", "GET /models/<model>:predict", {"model": "iris"}),
        (b"/models/a:b:predict", "GET /models/<model>:predict", {"model": "a:b"}),
        (b"/models/:predict", "GET /models/<model>", {"model": ":predict"}),
        (b"/models/stats/ready", "GET /models/<model>/ready", {"model": "stats"}),
        (b"/models/a%2Fb", "GET /models/<model>", {"model": "a/b"}),
        (b"/models/caf%C3%A9", "GET /models/<model>", {"model": "caf\u00e9"}),
        (b"/m%6Fdels", "GET /models", {}),
    ],
)
def test_most_specific_rule_answers(path: bytes, target: str, arguments: dict[str, str]) -> None:
    """Literal beats argument, a longer ending beats a shorter one, and a dead end is left again."""
    table = routes(
        "GET /",
        "GET /models",
        "GET /models/<model>",
        "GET /models/<model>:predict",
        "GET /models/<model>/ready",
        "GET /models/stats",
    )
    for _ in range(2):  # the second time from memory
        match = table.match("GET", path)
        assert (match.rule.target, match.arguments) == (target, arguments)


def test_head_is_answered_by_get() -> None:
    """Only the body differs, and the server leaves that out."""
    assert routes("GET /a").match("HEAD", b"/a").rule.target == "GET /a"


@pytest.mark.parametrize("path", [b"/nowhere", b"/models/", b"//models", b"/models/a/b/c", b"/Models"])
def test_unknown_path_names_itself_and_its_neighbours(path: bytes) -> None:
    """A trailing slash, an empty segment and another case are other paths."""
    with pytest.raises(ModelNotFound) as failure:
        routes("GET /models", "GET /models/<model>").match("GET", path)
    assert path.decode() in str(failure.value)


def test_near_routes_are_suggested() -> None:
    """A typing error is answered with what was probably meant."""
    with pytest.raises(ModelNotFound, match="near it are /v2/models"):
        routes("GET /v2/models").match("GET", b"/v2/modles")


def test_wrong_method_says_which_are_right() -> None:
    """405 carries Allow: GET implies HEAD, and OPTIONS always works."""
    table = routes("GET /a", "POST /a", "DELETE /<x>")
    with pytest.raises(WrongMethod) as failure:
        table.match("PUT", b"/a")
    assert failure.value.allow == table.allow(b"/a") == "GET, HEAD, OPTIONS, POST"
    assert failure.value.http_status == 405


def test_most_specific_rule_answers_for_all_methods() -> None:
    """GET /models/iris:predict is a wrong method, not a question about a model called iris:predict."""
    table = routes("GET /models/<model>", "POST /models/<model>:predict")
    with pytest.raises(WrongMethod):
        table.match("GET", b"/models/iris:predict")


@pytest.mark.parametrize("path", [b"/%", b"/%2", b"/%zz", b"/%+1", b"/%ff", b"/a%"])
def test_bad_percent_encoding_is_refused(path: bytes) -> None:
    """Half an escape, no hexadecimal digits, or bytes that are not UTF-8."""
    with pytest.raises(InvalidRequest, match="path: "):
        routes("GET /<x>").match("GET", path)


def test_two_rules_for_one_route_are_a_mistake() -> None:
    """The table would silently prefer one of them."""
    with pytest.raises(ValueError, match="two rules"):
        routes("GET /a", "GET /a")


def test_memory_of_paths_is_bounded() -> None:
    """A caller that makes up paths cannot fill the memory."""
    table = routes("GET /<x>")
    for number in range(5000):
        assert table.match("GET", b"/%d" % number).arguments == {"x": str(number)}
    assert len(table._known) <= 1024


def test_every_route_of_the_edge_is_reached_by_its_own_template() -> None:
    """No rule of the real table hides behind another."""
    table = rules()
    routed = Routes(table)
    for rule in table:
        path = rule.template.replace("<", "").replace(">", "")
        assert routed.match(rule.method, path.encode()).rule is rule
