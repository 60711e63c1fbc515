"""Which regions of this machine's shared memory callers have registered: a folder of small files beside the regions.

The folder is in /dev/shm itself, so whoever sees the registrations sees the memory too, and both end with the machine.
It is the one source of truth: any router process writes to it, every worker reads from it, none keeps a copy that could
be out of date; a process that starts again, or a new one, finds what is there. A registration is made by linking a
finished file to its name, so it is whole or absent, and of two that use one name at once exactly one wins.
"""

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson

from serving.errors import AlreadyRegistered, InvalidRequest, RegionNotFound, above_limit

MEMORY: Final = Path("/dev/shm")
_MAX_NAME_BYTES: Final = 256
_MAX_KEY_BYTES: Final = 255
_REGIONS: Final = "regions"
_USERS: Final = "users"


@dataclass(frozen=True, slots=True)
class Registration:
    """`byte_size` bytes from `offset` of the shared memory object `key`; `device` and `inode` tell it from another one
    that takes its key later."""

    name: str
    key: str
    offset: int
    byte_size: int
    device: int
    inode: int


def default_name(link_address: str, callers_address: str) -> str:
    """The same for all routers that share a folder of link sockets, or (link over TCP) the address callers dial."""
    kind, _, path = link_address.partition(":")
    return os.path.abspath(os.path.dirname(path) or ".") if kind == "unix" else callers_address


def folder_of(name: str, memory: Path = MEMORY) -> Path:
    """The registry `name`'s folder. It differs between users, machines and containers with a /dev/shm of their own, so
    that a worker never takes another machine's registration for one of its own. Raises OSError without /dev/shm."""
    with suppress(OSError):
        name += Path("/proc/sys/kernel/random/boot_id").read_text()
    mark = sha256(f"{name} {os.geteuid()} {os.stat(memory).st_dev}".encode()).hexdigest()[:24]
    return memory / f"dodona-{mark}"


def entry_of(folder: Path, name: str) -> Path:
    """Where the registration of `name` stands while there is one."""
    return folder / _REGIONS / sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def read_entry(path: Path) -> Registration:
    """Raises OSError if there is none."""
    return Registration(**orjson.loads(path.read_bytes()))


def open_object(key: str, memory: Path = MEMORY) -> int:
    """A descriptor of the shared memory object `key`, to read and write. Raises InvalidRequest."""
    bare = key.removeprefix("/")
    if not bare or "/" in bare or "\0" in bare or bare in (".", "..") or len(bare.encode()) > _MAX_KEY_BYTES:
        raise InvalidRequest(
            f"{key!r} names no shared memory object",
            field="key",
            remedy='send the name given to shm_open, like "/name"',
        )
    try:
        descriptor = os.open(memory / bare, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        reason = (error.strerror or "error").lower()
        raise InvalidRequest(
            f"shared memory object {key!r} cannot be opened: {reason}",
            field="key",
            remedy="create it before it is registered, on the server's machine and readable and writable for its user",
        ) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InvalidRequest(f"{key!r} is no shared memory object", field="key", remedy="send the name of one")
    return descriptor


class Registry:
    """`start` before use, `close` at the end. Every call may raise OSError where /dev/shm is full or has gone."""

    def __init__(self, folder: Path, *, max_regions: int, memory: Path = MEMORY) -> None:
        self.folder = folder
        self._memory = memory
        self._max_regions = max_regions
        self._regions = folder / _REGIONS
        self._users = -1

    def start(self) -> None:
        """Make the folder, or join those that use it: what is registered there stays. Raises OSError where somebody
        else owns it."""
        while self._users < 0:
            with suppress(FileExistsError):
                os.mkdir(self.folder, 0o700)
            if (found := os.lstat(self.folder)).st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
                raise PermissionError(f"{self.folder} belongs to somebody else")
            with suppress(FileNotFoundError):  # the last user of an earlier one is just taking it away
                self._regions.mkdir(mode=0o700, exist_ok=True)
                self._join(self.folder / _USERS)

    def _join(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        with suppress(FileNotFoundError):
            if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
                self._users = descriptor
                return
        os.close(descriptor)

    def close(self) -> None:
        """Leave; the last one takes the folder away. One that is killed leaves it for those that start again."""
        if self._users < 0:
            return
        with suppress(BlockingIOError):
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._users)
        self._users = -1

    def register(self, name: str, key: str, offset: int, byte_size: int) -> None:
        """Raises InvalidRequest (a size or key that does not fit), AlreadyRegistered, TooLarge (`max_regions`)."""
        if not name or len(name.encode("utf-8", "surrogatepass")) > _MAX_NAME_BYTES:
            raise InvalidRequest(
                f"a region's name has 1 to {_MAX_NAME_BYTES} bytes", field="name", remedy="send such a name"
            )
        if byte_size < 1:
            raise InvalidRequest("must be at least 1", field="byte_size", remedy="send the size of the region")
        descriptor = open_object(key, self._memory)
        try:
            found = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if offset + byte_size > found.st_size:
            raise InvalidRequest(
                f"{byte_size} bytes from offset {offset}, but shared memory object {key!r} has {found.st_size}",
                field="byte_size",
                remedy="send a range inside the object, or create it larger",
            )
        entry = Registration(name, key, offset, byte_size, found.st_dev, found.st_ino)
        path = entry_of(self.folder, name)
        if len(os.listdir(self._regions)) >= self._max_regions and not path.exists():
            raise above_limit(
                f"{self._max_regions + 1} shared memory regions", "router.shared_memory.max_regions", self._max_regions
            )
        self._write(path, asdict(entry))

    def _write(self, path: Path, entry: dict[str, Any]) -> None:
        whole = self.folder / f"new-{os.urandom(8).hex()}"
        whole.write_bytes(orjson.dumps(entry))
        try:
            os.link(whole, path)
        except FileExistsError:
            raise AlreadyRegistered(
                f"shared memory region {entry['name']!r} is already registered",
                field="name",
                remedy="unregister it first, or choose a name of your own",
            ) from None
        finally:
            whole.unlink()

    def unregister(self, name: str = "") -> None:
        """Without a name: all. One that is not there is no error, as in Triton; requests that use one now end well."""
        paths = [entry_of(self.folder, name)] if name else list(self._regions.iterdir())
        for path in paths:
            path.unlink(missing_ok=True)

    def registered(self, name: str = "") -> list[Registration]:
        """By name; without a name all of them. Raises RegionNotFound."""
        if not name:
            return sorted(self._entries(self._regions.iterdir()), key=lambda entry: entry.name)
        found = list(self._entries([entry_of(self.folder, name)]))
        if not found:
            raise not_registered(name, "name")
        return found

    @staticmethod
    def _entries(paths: "Iterator[Path] | list[Path]") -> Iterator[Registration]:
        for path in paths:
            with suppress(FileNotFoundError):
                yield read_entry(path)


def not_registered(name: str, field: str) -> RegionNotFound:
    return RegionNotFound(
        f"no shared memory region {name!r} is registered", field=field, remedy="register it before it is used"
    )
