import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving.errors import AlreadyRegistered, DodonaError, InvalidRequest, RegionNotFound, TooLarge
from serving.shared_memory.registry import Registry, default_name, folder_of
from serving.status import Status
from tests.serving.shared_memory.objects import Memory


def test_what_was_registered_is_listed(tmp_path: Path) -> None:
    """By name and all together, until it is unregistered; unregistering twice is no error."""
    memory = Memory(tmp_path)
    memory.create("object", bytes(100))
    memory.registry.register("b", "/object", 0, 100)
    memory.registry.register("a", "object", 40, 60)
    assert [(found.name, found.key, found.offset, found.byte_size) for found in memory.registry.registered()] == [
        ("a", "object", 40, 60),
        ("b", "/object", 0, 100),
    ]
    memory.registry.unregister("a")
    memory.registry.unregister("a")
    assert [found.name for found in memory.registry.registered("b")] == ["b"]
    with pytest.raises(RegionNotFound, match="no shared memory region 'a' is registered; register it"):
        memory.registry.registered("a")
    memory.registry.unregister()
    assert memory.registry.registered() == []


@pytest.mark.parametrize("name", ["a b", "../../x", "ä/ö", ".", "x" * 256])
def test_any_name_is_a_name(tmp_path: Path, name: str) -> None:
    """It never becomes part of a path."""
    memory = Memory(tmp_path)
    memory.create("object", bytes(4))
    memory.registry.register(name, "/object", 0, 4)
    assert memory.registry.registered(name)[0].name == name


@pytest.mark.parametrize(
    ("name", "key", "offset", "size", "text"),
    [
        ("", "/object", 0, 4, "name: a region's name has 1 to 256 bytes"),
        ("x" * 257, "/object", 0, 4, "name: a region's name has 1 to 256 bytes"),
        ("r", "", 0, 4, "key: '' names no shared memory object; send the name given to shm_open"),
        ("r", "/../object", 0, 4, "key: '/../object' names no shared memory object"),
        ("r", "/..", 0, 4, "names no shared memory object"),
        ("r", "//object", 0, 4, "names no shared memory object"),
        ("r", "/ob\0ject", 0, 4, "names no shared memory object"),
        ("r", "/" + "x" * 256, 0, 4, "names no shared memory object"),
        ("r", "/registry", 0, 4, "'/registry' cannot be opened: is a directory"),
        ("r", "/link", 0, 4, "'/link' cannot be opened"),
        ("r", "/pipe", 0, 4, "'/pipe' is no shared memory object"),
        ("r", "/nosuch", 0, 4, "key: shared memory object '/nosuch' cannot be opened: no such file .*; create it"),
        ("r", "/object", 0, 0, "byte_size: must be at least 1"),
        ("r", "/object", 0, 9, "byte_size: 9 bytes from offset 0, but shared memory object '/object' has 8"),
        ("r", "/object", 2**63, 2**63, "but shared memory object '/object' has 8; send a range inside"),
    ],
)
def test_what_cannot_be_registered(tmp_path: Path, name: str, key: str, offset: int, size: int, text: str) -> None:
    """The field and the remedy are named, nothing is registered, and no path leads out of the folder."""
    memory = Memory(tmp_path)
    memory.create("object", bytes(8))
    (tmp_path / "link").symlink_to(tmp_path / "object")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidRequest, match=text):
        memory.registry.register(name, key, offset, size)
    assert memory.registry.registered() == []


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    """Of many that want it at the same moment, over any number of routers, one gets it."""
    memory = Memory(tmp_path)
    memory.create("object", bytes(8))
    others = [Registry(memory.registry.folder, max_regions=8, memory=tmp_path) for _ in range(8)]

    def attempt(registry: Registry) -> DodonaError | None:
        try:
            registry.register("r", "/object", 0, 8)
        except AlreadyRegistered as error:
            return error
        return None

    with ThreadPoolExecutor(8) as pool:
        refusals = [error for error in pool.map(attempt, others) if error is not None]
    assert len(refusals) == 7
    assert str(refusals[0]).startswith("name: shared memory region 'r' is already registered; unregister it first")
    assert (refusals[0].status, refusals[0].http_status) == (Status.ALREADY_EXISTS, 409)


def test_regions_are_bounded(tmp_path: Path) -> None:
    """One more than the setting allows is refused by its name."""
    memory = Memory(tmp_path, max_regions=2)
    memory.create("object", bytes(8))
    for name in ("a", "b"):
        memory.registry.register(name, "/object", 0, 8)
    with pytest.raises(TooLarge, match=r"router\.shared_memory\.max_regions = 2"):
        memory.registry.register("c", "/object", 0, 8)
    with pytest.raises(AlreadyRegistered):
        memory.registry.register("a", "/object", 0, 8)


def test_the_last_router_clears_up(tmp_path: Path) -> None:
    """Registrations outlive a router that is killed or starts again beside others, and end with the last one."""
    memory = Memory(tmp_path)
    memory.create("object", bytes(8))
    other = Registry(memory.registry.folder, max_regions=8, memory=tmp_path)
    other.start()
    memory.registry.register("r", "/object", 0, 8)
    memory.registry.close()
    assert other.registered("r")
    memory.registry.start()
    other.close()
    other.close()
    assert memory.registry.registered("r")
    memory.registry.close()
    assert not memory.registry.folder.exists()


def test_somebody_elses_folder_is_not_trusted(tmp_path: Path) -> None:
    """A file or a link in its place, which anyone may put into /dev/shm, ends the start."""
    (tmp_path / "registry").symlink_to(tmp_path)
    with pytest.raises(PermissionError, match="belongs to somebody else"):
        Registry(tmp_path / "registry", max_regions=8, memory=tmp_path).start()


def test_who_shares_a_registry(tmp_path: Path) -> None:
    """Routers with link sockets in one folder, or callers at one address; another memory is another registry."""
    assert default_name("unix:run/a.sock", "x") == default_name("unix:run/b.sock", "y")
    assert default_name("unix:run/a.sock", "x") != default_name("unix:other/a.sock", "x")
    assert default_name("127.0.0.1:9", "127.0.0.1:8001") == "127.0.0.1:8001"
    assert folder_of("n", tmp_path) == folder_of("n", tmp_path) != folder_of("m", tmp_path)
    assert folder_of("n", tmp_path).name != folder_of("n", Path("/proc")).name
