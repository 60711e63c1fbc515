"""The folder of a running cluster: its lock, its socket, its logs. One cluster at a time may have it."""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from serving.errors import ConfigurationError

# sockaddr_un holds 108 bytes on Linux and 104 on macOS, the closing zero included.
_MAX_SOCKET_PATH: Final = 100
_MAX_LOG_BYTES: Final = 64 * 1024 * 1024


class RunFolder:
    """Raises ConfigurationError: the folder cannot be made, or another cluster has it."""

    def __init__(self, path: str) -> None:
        self.path = Path(path).absolute()
        self._short: str | None = None
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"{self.path} cannot be used: {error.strerror}", field="run_folder", remedy="choose another folder"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = os.read(self._lock, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._lock)
            raise ConfigurationError(
                f"{self.path} is used by another running cluster (pid {pid})",
                field="run_folder",
                remedy="stop that one, or choose another folder and other ports",
            ) from None
        os.ftruncate(self._lock, 0)
        os.write(self._lock, f"{os.getpid()}\n".encode())

    def socket(self, name: str) -> str:
        """A path short enough for a unix socket: here, else in a new private folder of the system's."""
        path = str(self.path / name)
        if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
            return path
        if self._short is None:
            self._short = tempfile.mkdtemp(prefix="dodona-")
        return f"{self._short}/{name}"

    def close(self) -> None:
        """Give the folder back; what is in it stays, for whoever wants to read the logs."""
        os.ftruncate(self._lock, 0)
        os.close(self._lock)
        if self._short is not None:
            shutil.rmtree(self._short, ignore_errors=True)


def open_log(path: Path) -> int:
    """A descriptor to append to; a log that has grown large is set aside first. Raises ConfigurationError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > _MAX_LOG_BYTES:
            path.replace(path.with_name(f"{path.name}.1"))
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror}", field="log_file", remedy="choose another file, or -"
        ) from None
