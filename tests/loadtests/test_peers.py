"""The rivals: their environments, their own counts, and what is done with one that cannot run here."""

from pathlib import Path

import pytest

from loadtests.bench.__main__ import wanted
from loadtests.peers import PEERS, mlserver, triton
from loadtests.peers.environment import STAMP, NotInstalled, install, installed
from loadtests.peers.peer import SERVED


def test_triton_is_asked_for_its_successes_over_all_versions() -> None:
    """Failures and other series of its metrics page are left alone."""
    page = (
        "# TYPE nv_inference_request_success counter\n"
        'nv_inference_request_success{model="a",version="1"} 41\n'
        'nv_inference_request_success{model="a",version="2"} 1\n'
        'nv_inference_request_failure{model="a",reason="OTHER",version="1"} 7\n'
    )
    assert triton.successes(page) == 42


def test_mlserver_is_asked_for_its_successes() -> None:
    """Its counter is a float, and large ones are written with an exponent."""
    page = 'model_infer_request_success_total{model="a",version="1"} 1.5e+04\nmodel_infer_request_failure_total{} 2.0\n'
    assert mlserver.successes(page) == 15000


def test_an_environment_counts_only_with_the_requirements_of_now(tmp_path: Path) -> None:
    """A newer pin means a new environment; one whose installation broke off has no stamp and does not count."""
    assert installed(tmp_path, ("a==1",)) is None
    (tmp_path / STAMP).write_text("a==1\n")
    assert installed(tmp_path, ("a==1",)) is not None
    assert installed(tmp_path, ("a==2",)) is None


def test_an_installation_that_fails_says_why(tmp_path: Path) -> None:
    """pip's own words are in the error, and nothing counts as installed afterwards."""
    requirement = str(tmp_path / "absent-1-py3-none-any.whl")
    with pytest.raises(NotInstalled, match="absent"):
        install(tmp_path / "made", (requirement,))
    assert installed(tmp_path / "made", (requirement,)) is None


def test_an_installation_is_bounded_in_time(tmp_path: Path) -> None:
    """One that hangs is given up, not waited for."""
    with pytest.raises(NotInstalled, match="longer than 0 s"):
        install(tmp_path / "made", (), timeout_s=0.001)


def test_rivals_are_chosen_by_name_in_one_order() -> None:
    """All, none, some; the order is the registry's."""
    assert wanted(["all"]) == list(PEERS)
    assert wanted(["none"]) == []
    assert wanted(["mlserver", "triton"]) == ["triton", "mlserver"]


def test_what_rivals_run_imports_nothing_of_ours() -> None:
    """Their environments have no Dodona; only the protocol's generated messages are lent to grpc.aio."""
    for path in SERVED.glob("*.py"):
        imports = [line for line in path.read_text().splitlines() if line.startswith(("import ", "from "))]
        ours = [
            line for line in imports if line.split()[1].split(".")[0] in ("dodona", "router", "serving", "loadtests")
        ]
        assert not ours, path.name


def test_every_rival_has_pinned_versions() -> None:
    """Figures without versions mean nothing."""
    for peer in PEERS.values():
        assert "==" in peer.requirements[0], peer.name
