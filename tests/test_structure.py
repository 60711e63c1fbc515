"""Rules of the code base that a reader relies on: direction of imports, pure policies, no unfinished work."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("protos", "serving", "router", "dodona")
# What a package may import of the others. The router takes from serving the shared vocabulary only.
ALLOWED = {
    "protos": set[str](),
    "serving": {"protos", "serving"},
    "router": {
        "protos",
        "router",
        "serving.errors",
        "serving.link",
        "serving.log",
        "serving.memory",
        "serving.loop",
        "serving.metrics",
        "serving.policy.cost",
        "serving.settings",
        "serving.shared_memory.registry",
        "serving.spec",
        "serving.spinning",
        "serving.status",
        "serving.tensors",
        "serving.tracing",
        "serving.wire",
    },
    "dodona": {"protos", "serving", "router", "dodona"},
}
IMPURE = {
    *("asyncio", "grpc", "time", "datetime", "os", "pathlib", "logging", "random"),
    *("socket", "threading", "subprocess", "uvloop"),
}
# The agent's policy stands beside its shell.
AGENTS_POLICY = [
    f"serving/agent/{name}.py" for name in ("plan", "hosting", "placement", "report", "wishes", "supervision")
]


def modules(package: str) -> list[Path]:
    return [path for path in sorted((ROOT / package).rglob("*.py")) if not path.name.endswith("_pb2.py")]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def within(name: str, allowed: set[str]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in allowed)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    """dodona -> router, serving -> protos; the router knows nothing of runtimes, bundles and workers."""
    for path in modules(package):
        ours = {name for name in imported(path) if name.split(".")[0] in PACKAGES}
        if path.name == "generate.py":
            continue
        wrong = {name for name in ours if not within(name, ALLOWED[package] | {package})}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


@pytest.mark.parametrize("place", ["serving/policy", "router/policy", "router/http1", "router/http2", *AGENTS_POLICY])
def test_decisions_are_pure(place: str) -> None:
    """Policies and the protocol machine take time and randomness as arguments and touch no I/O."""
    for path in modules(place) or [ROOT / place]:
        impure = {name for name in imported(path) if name.split(".")[0] in IMPURE}
        assert not impure, f"{path.relative_to(ROOT)} imports {sorted(impure)}"
        pure = {name.removesuffix(".py").replace("/", ".") for name in AGENTS_POLICY}
        shell = {name for name in imported(path) if within(name, {"serving.agent"}) and not within(name, pure)}
        assert not shell, f"{path.relative_to(ROOT)} imports {sorted(shell)}"


def test_a_clock_that_is_set_moves_no_deadline() -> None:
    """Router and workers measure with CLOCK_MONOTONIC; the time of day is read only to be shown or to age files."""
    shown = {
        "router/statistics.py",
        "serving/bundle/aside.py",
        "serving/bundle/pack.py",
        "serving/bundle/repository.py",
        "serving/tracing/clock.py",
    }
    wall = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
    for package in ("router", "serving"):
        for path in modules(package):
            text = path.read_text()
            if "time" not in text and "date" not in text:
                continue
            names = {ast.unparse(node) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)}
            read = (names | imported(path)) & wall
            assert not read or str(path.relative_to(ROOT)) in shown, f"{path.relative_to(ROOT)} reads {sorted(read)}"


def test_frameworks_are_imported_only_where_they_are_loaded() -> None:
    """A module-level import of a framework would make every process carry it."""
    heavy = {"onnxruntime", "xgboost", "sklearn", "skl2onnx", "onnx", "torch", "tensorflow", "pandas", "tritonclient"}
    for package in PACKAGES:
        for path in modules(package):
            for node in ast.parse(path.read_text()).body:
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module:
                    names = [node.module]
                assert not {name.split(".")[0] for name in names} & heavy, path.relative_to(ROOT)


def test_files_stay_small() -> None:
    """Past 400 lines a file holds two things: find the seam."""
    long = {
        str(path.relative_to(ROOT)): count
        for package in PACKAGES
        for path in modules(package)
        if (count := len(path.read_text().splitlines())) > 400
    }
    assert not long


def test_every_test_says_what_it_shows() -> None:
    """One sentence each."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                assert ast.get_docstring(node), f"{path.relative_to(ROOT)}::{node.name}"
