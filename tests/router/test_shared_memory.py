from pathlib import Path

import pytest

from router.settings import Link, RouterSettings, SharedMemory
from router.shared_memory import SharedRegions
from serving.errors import Unimplemented


def test_routers_of_one_machine_share_registrations(tmp_path: Path) -> None:
    """What one was told the others know, by the folder of their sockets or by a name; others know nothing of it."""
    links = [Link(address=f"unix:{tmp_path}/{name}.sock") for name in ("a", "b")]
    one, two = (SharedRegions(RouterSettings(link=link)) for link in links)
    assert one.folder == two.folder
    assert SharedRegions(RouterSettings(link=Link(address=f"unix:{tmp_path}/c/a.sock"))).folder != one.folder
    named = [
        SharedRegions(RouterSettings(link=Link(address=f"127.0.0.1:{port}"), shared_memory=SharedMemory(registry="n")))
        for port in (1, 2)
    ]
    assert named[0].folder == named[1].folder


@pytest.mark.parametrize(
    ("host", "enabled", "offered"),
    [
        ("127.0.0.1", "auto", True),
        ("localhost", "auto", True),
        ("::1", "auto", True),
        ("0.0.0.0", "auto", False),
        ("::", "auto", False),
        ("serving.example", "auto", False),
        ("0.0.0.0", True, True),
        ("127.0.0.1", False, False),
    ],
)
def test_only_callers_of_this_machine_by_default(host: str, enabled: bool, offered: bool) -> None:
    """Where others may call it must be switched on by hand: whoever calls can have memory read and written."""
    settings = RouterSettings.model_validate({"host": host, "shared_memory": {"enabled": enabled}})
    regions = SharedRegions(settings)
    assert regions.offered is offered
    assert bool(regions.folder) is offered
    if not offered:
        with pytest.raises(Unimplemented, match=r"router\.shared_memory\.enabled: true"):
            _ = regions.registry
