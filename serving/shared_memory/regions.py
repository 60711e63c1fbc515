"""A worker's side of shared memory: regions as callers name them in requests, read and written in place.

Nothing is mapped. A mapping whose file the caller makes shorter kills the process that touches it (SIGBUS), at a
moment no check can exclude; `preadv` and `pwrite` of the same pages give a short count instead. They copy once,
straight into the batch and out of the runtime's output, which is what a mapping would have to do as well to keep a
caller that still writes from changing values after they were checked.

A region stays open between requests. Whether it still is what its name means is looked up at every use.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from protos import inference_pb2
from serving.errors import InvalidRequest, Unimplemented
from serving.shared_memory.registry import MEMORY, Registration, entry_of, not_registered, open_object, read_entry

REGION: Final = "shared_memory_region"
BYTE_SIZE: Final = "shared_memory_byte_size"
OFFSET: Final = "shared_memory_offset"
_OFF: Final = (
    "shared memory is switched off",
    "send the tensor itself, or set router.shared_memory.enabled: true where callers are on the server's machine",
)
_ELSEWHERE: Final = (
    "this worker does not share the router's memory: it runs on another machine, or in a container of its own",
    "send the tensor itself, or give router, worker and caller the same /dev/shm",
)

Parameters = Mapping[str, inference_pb2.InferParameter]
Stamp = tuple[int, int, int]


class Region:
    """An open shared memory object; it is closed when the last span of it is gone."""

    __slots__ = ("descriptor", "entry", "registration", "stamp")

    def __init__(self, registration: Registration, descriptor: int, entry: str, stamp: Stamp) -> None:
        self.registration = registration
        self.descriptor = descriptor
        self.entry = entry
        """Path of the file that registered it."""
        self.stamp = stamp
        """What that file was then."""

    def __del__(self) -> None:
        os.close(self.descriptor)


class Span:
    """The bytes of one tensor in a region; `field` names the tensor in errors."""

    __slots__ = ("_region", "_start", "field", "offset", "size")

    def __init__(self, region: Region, offset: int, size: int, field: str) -> None:
        self._region = region
        self._start = region.registration.offset + offset
        self.offset = offset
        """In the region, as the caller counts."""
        self.size = size
        self.field = field

    def __len__(self) -> int:
        return self.size

    @property
    def region(self) -> str:
        """Its name."""
        return self._region.registration.name

    def read(self) -> bytes:
        """A copy of the bytes as they are now. Raises InvalidRequest."""
        whole = bytearray(self.size)
        self.read_into(memoryview(whole))
        return bytes(whole)

    def read_into(self, target: memoryview) -> None:
        """Fill `target`, which has `size` bytes. Raises InvalidRequest if the object has become too short."""
        done = 0
        while done < self.size:
            got = os.preadv(self._region.descriptor, [target[done:]], self._start + done)
            if not got:
                raise self._shrunk()
            done += got

    def write(self, raw: "bytes | memoryview") -> None:
        """Raises InvalidRequest: the span is too small, or the object has become too short or gets no memory."""
        if len(raw) > self.size:
            raise InvalidRequest(
                f"the output has {len(raw)} bytes, {BYTE_SIZE} is {self.size}",
                field=f"{self.field}.parameters.{BYTE_SIZE}",
                remedy=f"register a region with room for it and send at least {len(raw)}",
            )
        if os.fstat(self._region.descriptor).st_size < self._start + len(raw):
            raise self._shrunk()
        view = memoryview(raw)
        done = 0
        try:
            while done < len(view):
                done += os.pwrite(self._region.descriptor, view[done:], self._start + done)
        except OSError as error:
            raise InvalidRequest(
                f"shared memory region {self.region!r} cannot be written: {(error.strerror or '').lower()}",
                field=f"{self.field}.parameters.{REGION}",
                remedy="make room in /dev/shm",
            ) from None

    def _shrunk(self) -> InvalidRequest:
        return InvalidRequest(
            f"shared memory region {self.region!r} was made shorter after it was registered",
            field=f"{self.field}.parameters.{REGION}",
            remedy="unregister it, keep its size, and register it again",
        )


class Regions:
    """What is registered with the routers behind one link. `folder`: their registry's, "" where they offer none."""

    def __init__(self, folder: str = "", memory: Path = MEMORY) -> None:
        self._folder = Path(folder) if folder else None
        self._memory = memory
        self._open: dict[str, Region] = {}

    def span_of(self, parameters: Parameters, field: str) -> Span | None:
        """Where the tensor `field` ("inputs[0]") is or shall go, None if it is not in shared memory. Raises
        InvalidRequest, RegionNotFound, Unimplemented."""
        if REGION not in parameters and BYTE_SIZE not in parameters:
            return None
        for needed in (REGION, BYTE_SIZE):
            if needed not in parameters:
                raise InvalidRequest(
                    f"is missing: {REGION} and {BYTE_SIZE} come together",
                    field=f"{field}.parameters.{needed}",
                    remedy="send both, or none",
                )
        where = f"{field}.parameters."
        if self._folder is None:
            raise Unimplemented(_OFF[0], field=where + REGION, remedy=_OFF[1])
        name = parameters[REGION].string_param
        size = _count(parameters[BYTE_SIZE], where + BYTE_SIZE)
        offset = _count(parameters[OFFSET], where + OFFSET) if OFFSET in parameters else 0
        region = self._region(self._folder, name, where + REGION)
        if offset + size > region.registration.byte_size:
            raise InvalidRequest(
                f"{size} bytes from offset {offset}, but region {name!r} has {region.registration.byte_size}",
                field=where + BYTE_SIZE,
                remedy="send a range inside the region",
            )
        return Span(region, offset, size, field)

    def sweep(self) -> None:
        """Let go of regions that were unregistered: their memory is the system's again once no request uses them."""
        for name, region in list(self._open.items()):
            if _stamp(region.entry) != region.stamp:
                del self._open[name]

    def _region(self, folder: Path, name: str, field: str) -> Region:
        region = self._open.get(name)
        if region is not None and _stamp(region.entry) == region.stamp:
            return region
        self._open.pop(name, None)
        path = entry_of(folder, name)
        stamp = _stamp(str(path))
        if stamp is None:
            if not folder.is_dir():
                raise Unimplemented(_ELSEWHERE[0], field=field, remedy=_ELSEWHERE[1])
            raise not_registered(name, field)
        region = self._open[name] = self._opened(path, name, field, stamp)
        return region

    def _opened(self, path: Path, name: str, field: str, stamp: Stamp) -> Region:
        try:
            registration = read_entry(path)
        except OSError:
            raise not_registered(name, field) from None
        try:
            region = Region(registration, open_object(registration.key, self._memory), str(path), stamp)
        except InvalidRequest as error:
            raise InvalidRequest(
                error.message, field=field, remedy="unregister the region and register it anew"
            ) from None
        found = os.fstat(region.descriptor)
        if (found.st_dev, found.st_ino) != (registration.device, registration.inode):
            raise InvalidRequest(
                f"key {registration.key!r} is another shared memory object than when region {name!r} was registered",
                field=field,
                remedy="unregister the region and register it anew",
            )
        return region


NOWHERE: Final = Regions()
"""For requests that came over no link: shared memory is off."""


def _stamp(path: str) -> Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _count(parameter: inference_pb2.InferParameter, field: str) -> int:
    choice = parameter.WhichOneof("parameter_choice")
    count: Any = getattr(parameter, choice) if choice in ("int64_param", "uint64_param") else -1
    if count < 0:
        raise InvalidRequest("not a whole number of bytes", field=field, remedy="send it as int64, 0 or more")
    return int(count)
