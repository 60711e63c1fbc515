"""Shared memory objects of a test, in a folder of its own that stands for /dev/shm."""

from pathlib import Path

from protos import inference_pb2
from serving.shared_memory.regions import BYTE_SIZE, OFFSET, REGION, Parameters, Regions
from serving.shared_memory.registry import Registry


class Memory:
    """A registry in use, and the regions as a worker sees them."""

    def __init__(self, folder: Path, max_regions: int = 8) -> None:
        self.folder = folder
        self.registry = Registry(folder / "registry", max_regions=max_regions, memory=folder)
        self.registry.start()
        self.regions = Regions(str(self.registry.folder), folder)

    def create(self, key: str, content: bytes) -> Path:
        path = self.folder / key
        path.write_bytes(content)
        return path

    def region(self, name: str, content: bytes) -> Path:
        """A new object with its region of the same name."""
        path = self.create(name, content)
        self.registry.register(name, f"/{name}", 0, len(content))
        return path


def parameters(region: str, size: int, offset: int = 0) -> Parameters:
    request = inference_pb2.ModelInferRequest()
    write(request.parameters, region, size, offset)
    return request.parameters


def write(target: Parameters, region: str, size: int, offset: int = 0) -> None:
    target[REGION].string_param = region
    target[BYTE_SIZE].int64_param = size
    if offset:
        target[OFFSET].int64_param = offset
