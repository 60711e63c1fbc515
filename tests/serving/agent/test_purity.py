"""The agent's policy decides without a clock, a process, a file or a random number."""

import ast
from pathlib import Path

import pytest

import serving.agent

FORBIDDEN = {"asyncio", "time", "os", "random", "logging", "grpc", "subprocess", "threading", "pathlib", "datetime"}
PURE = ("plan", "hosting", "placement", "report", "wishes", "supervision")


@pytest.mark.parametrize("name", PURE)
def test_policy_modules_import_nothing_that_acts(name):
    """Neither directly nor from a module of the agent that is not pure itself."""
    source = (Path(serving.agent.__file__).parent / f"{name}.py").read_text()
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    assert {module.partition(".")[0] for module in imported} & FORBIDDEN == set()
    agents = {module.removeprefix("serving.agent.") for module in imported if module.startswith("serving.agent.")}
    assert agents <= set(PURE)
