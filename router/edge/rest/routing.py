"""Which endpoint answers a method and a path: a small table after the manner of Spotify's Apollo.

A template is a path whose segments are literal (`models`) or arguments (`<model>`), an argument may carry a literal
ending (`<model>:predict`). An argument matches one non-empty segment and is percent-decoded after the path has been
split, so an encoded slash stays inside its argument. Where several templates match, the most specific wins: at the
first segment in which they differ, literal beats argument, and a longer ending beats a shorter one; whether it has the
method is asked of that one only. A trailing slash matters. HEAD is answered by GET.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import ClassVar, Final, Generic, TypeVar
from urllib.parse import unquote_to_bytes

from serving.errors import DodonaError, InvalidRequest, ModelNotFound
from serving.status import Status

Target = TypeVar("Target")

_HEX: Final = frozenset("0123456789abcdefABCDEF")
_KNOWN: Final = 1024  # paths remembered with their match: those of a busy client repeat
_SHOWN: Final = 200  # characters of a path that an error repeats


class WrongMethod(DodonaError):
    """The path exists, the method does not. `allow` is the value of the Allow header."""

    status: ClassVar[Status] = Status.UNIMPLEMENTED

    def __init__(self, method: str, path: str, allow: str) -> None:
        super().__init__(f"{method} is not defined for {path}", remedy=f"use {allow}")
        self.allow = allow

    @property
    def http_status(self) -> int:
        return 405


@dataclass(frozen=True, slots=True)
class Rule(Generic[Target]):
    method: str
    template: str
    target: Target
    text: str
    """One sentence for people: what the route is for."""


@dataclass(frozen=True, slots=True)
class Match(Generic[Target]):
    """Shared between requests of the same path: read only."""

    rule: Rule[Target]
    arguments: Mapping[str, str]


class _Node(Generic[Target]):
    """A position in the tree of segments. `rules` is empty where no template ends."""

    __slots__ = ("arguments", "literals", "rules")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[Target]] = {}
        self.arguments: list[tuple[str, str, _Node[Target]]] = []  # (name, ending, node), longest ending first
        self.rules: dict[str, Rule[Target]] = {}

    def step(self, segment: str) -> "_Node[Target]":
        """The child for a template's segment, made if it is new."""
        if not segment.startswith("<"):
            return self.literals.setdefault(segment, _Node())
        name, _, ending = segment[1:].partition(">")
        for known, known_ending, node in self.arguments:
            if (known, known_ending) == (name, ending):
                return node
        node = _Node[Target]()
        self.arguments.append((name, ending, node))
        self.arguments.sort(key=lambda child: -len(child[1]))
        return node


# The rules of the methods of one template, and the arguments of a path that it matches.
Leaf = tuple[dict[str, Rule[Target]], dict[str, str]]


class Routes(Generic[Target]):
    def __init__(self, rules: Sequence[Rule[Target]]) -> None:
        """Raises ValueError where two rules have the same method and template."""
        self.rules = tuple(rules)
        self._root = _Node[Target]()
        self._known: dict[tuple[str, bytes], Match[Target]] = {}
        for rule in rules:
            node = self._root
            for segment in rule.template[1:].split("/"):
                node = node.step(segment)
            if rule.method in node.rules:
                raise ValueError(f"two rules for {rule.method} {rule.template}")
            node.rules[rule.method] = rule

    def match(self, method: str, raw_path: bytes) -> Match[Target]:
        """`raw_path` is the path as it came, without the query. Raises InvalidRequest (bad percent-encoding),
        ModelNotFound (no such path), WrongMethod."""
        known = self._known.get((method, raw_path))
        return known if known is not None else self._search(method, raw_path)

    def _search(self, method: str, raw_path: bytes) -> Match[Target]:
        rules, arguments = self._leaf(raw_path)
        rule = rules.get("GET" if method == "HEAD" else method)
        if rule is None:
            raise WrongMethod(method, _shown(raw_path), _allow(rules))
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known[method, raw_path] = match = Match(rule, arguments)
        return match

    def _leaf(self, raw_path: bytes) -> Leaf[Target]:
        found = _walk(self._root, _segments(raw_path), 0)
        if found is None:
            path = _shown(raw_path)
            raise ModelNotFound(f"no route {path}", remedy=self._near(path))
        return found

    def allow(self, raw_path: bytes) -> str:
        """Value of the Allow header for OPTIONS. Raises as `match` does."""
        return _allow(self._leaf(raw_path)[0])

    def _near(self, path: str) -> str:
        templates = list(dict.fromkeys(rule.template for rule in self.rules))
        near = get_close_matches(path, templates, n=3, cutoff=0.5)
        return f"near it are {', '.join(near)}" if near else "GET / lists all routes"


def _walk(node: _Node[Target], segments: Sequence[str], at: int) -> Leaf[Target] | None:
    """The most specific leaf that matches, with its arguments."""
    if at == len(segments):
        return (node.rules, {}) if node.rules else None
    segment = segments[at]
    literal = node.literals.get(segment)
    if literal is not None and (found := _walk(literal, segments, at + 1)) is not None:
        return found
    for name, ending, child in node.arguments:
        if segment.endswith(ending) and len(segment) > len(ending):
            found = _walk(child, segments, at + 1)
            if found is not None:
                found[1][name] = segment[: len(segment) - len(ending)]
                return found
    return None


def _segments(raw_path: bytes) -> list[str]:
    segments = raw_path.decode("latin-1")[1:].split("/")
    return [_decoded(segment) for segment in segments] if b"%" in raw_path else segments


def _decoded(segment: str) -> str:
    for escape in segment.split("%")[1:]:
        if len(escape) < 2 or not _HEX.issuperset(escape[:2]):
            raise InvalidRequest(
                f"bad percent-encoding in {segment[:_SHOWN]!r}",
                field="path",
                remedy="write % and two hexadecimal digits",
            )
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise InvalidRequest(
            f"{segment[:_SHOWN]!r} does not decode to UTF-8", field="path", remedy="percent-encode the bytes of UTF-8"
        ) from None


def _shown(raw_path: bytes) -> str:
    return raw_path[:_SHOWN].decode("latin-1")


def _allow(methods: Iterable[str]) -> str:
    allowed = {"OPTIONS", *methods}
    return ", ".join(sorted(allowed | {"HEAD"} if "GET" in allowed else allowed))
