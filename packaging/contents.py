"""What may be in a wheel: python packaging/contents.py dist/*.whl

The package, the Triton kernels, one native library and the metadata; no tests, no emulation of
CUDA kernels, no absolute path of the machine that built it.
"""

import sys
import zipfile
from pathlib import Path

LIMIT = 60_000_000  # bytes


def check(path: Path) -> None:
    size = path.stat().st_size
    assert size < LIMIT, f"{path.name}: expected less than {LIMIT} bytes, got {size}"
    python, abi, platform = path.stem.split("-")[-3:]
    assert (python, abi) == ("py3", "none"), f"expected a wheel for every Python, got {path.name}"
    assert platform.startswith("manylinux"), f"expected a repaired wheel, got {path.name}"
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        native = [name for name in names if name.endswith(".so") or ".so." in name]
        assert native == ["patchgate/_C.so"], f"expected one native library, got {native}"
        strange = [
            name
            for name in names
            if not name.startswith(("patchgate/", "patchgate-")) or "test" in name.lower()
        ]
        assert not strange, f"this does not belong in a wheel: {strange}"
        for wanted in ("patchgate/py.typed", "patchgate/kernels/__init__.py"):
            assert wanted in names, f"{wanted} is missing"
        root = str(Path(__file__).resolve().parents[1]).encode()
        told = [name for name in names if root in wheel.read(name)]
        assert not told, f"the path of this machine stands in {told}"
    print(f"{path.name}: {len(names)} files, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        check(Path(argument))
