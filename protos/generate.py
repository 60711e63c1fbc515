"""Generate the message modules from the .proto files: `python -m protos.generate [TARGET_DIR]`.

The compiler's output is used as it is but for one line: messages register in `protos.pool.POOL` instead of the
process-wide default pool (see there). A test generates into an empty folder and compares with what is committed.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
_DEFAULT_POOL = "_descriptor_pool.Default()"
_OWN_POOL = "_own_pool.POOL"
_IMPORT = "from google.protobuf import descriptor_pool as _descriptor_pool\n"
_OWN_IMPORT = "from protos import pool as _own_pool\n"


def generate(target: Path) -> list[Path]:
    """Write `protos/*_pb2.py` and `.pyi` below `target`; returns the files. Raises CalledProcessError."""
    sources = sorted(path.name for path in HERE.glob("*.proto"))
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"-I{HERE.parent}",
            f"--python_out={target}",
            f"--pyi_out={target}",
            *(f"protos/{name}" for name in sources),
        ],
        check=True,
        cwd=HERE.parent,
    )
    modules = sorted((target / "protos").glob("*_pb2.py"))
    for module in modules:
        text = module.read_text()
        if text.count(_DEFAULT_POOL) != 1 or text.count(_IMPORT) != 1:
            raise ValueError(f"{module.name}: the compiler's output has a new form, adapt protos/generate.py")
        module.write_text(text.replace(_IMPORT, _OWN_IMPORT).replace(_DEFAULT_POOL, _OWN_POOL))
    return modules + sorted((target / "protos").glob("*_pb2.pyi"))


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent)
