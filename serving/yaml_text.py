"""YAML as a person writes it: safe, and a key that is there twice is a fault, not a silent choice of the last."""

from typing import Any, Final

import yaml

# The C loader is ten times as fast, which a scan of a thousand models feels; both are safe.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_yaml(text: str) -> Any:
    """The plain value of the one document in `text`. Raises yaml.YAMLError, also for a key that is there twice; and
    ValueError, RecursionError for texts made to break readers."""
    loader = _LOADER(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        _refuse_twins(root)
        return loader.construct_document(root)
    finally:
        loader.dispose()


def fault_of(error: Exception) -> str:
    """What is wrong, for a message after the file's name: "not valid YAML at line 3"."""
    mark = getattr(error, "problem_mark", None)
    line = f" at line {mark.line + 1}" if mark else ""
    return f"{error.problem}{line}" if isinstance(error, DuplicateKey) else f"not valid YAML{line}"


class DuplicateKey(yaml.constructor.ConstructorError):
    """`problem` names the key, `problem_mark` where it is for the second time."""


def _refuse_twins(root: yaml.Node) -> None:
    """On the tree as it was written: once `<<` is resolved, an overridden key is there twice by right."""
    seen: set[int] = set()  # anchors make the tree a graph, in which a node may have any number of parents
    nodes = [root]
    while nodes:
        node = nodes.pop()
        if id(node) in seen or isinstance(node, yaml.ScalarNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            nodes += node.value
            continue
        lines: dict[tuple[str, str], int] = {}
        for key, value in node.value:
            nodes += (key, value)
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in lines:
                first = lines[key.tag, key.value]
                raise DuplicateKey(None, None, f"{key.value!r} is there twice, at line {first} and", key.start_mark)
            lines[key.tag, key.value] = key.start_mark.line + 1
