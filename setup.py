"""Builds patchgate's native library by handing everything to CMake.

``_C`` holds the torch ops (stable ABI: one file for every torch >= 2.11 and every Python).
PATCHGATE_CUDA=1 demands the CUDA kernels, =0 leaves them out; else they are built where nvcc is.
CUDAARCHS="90-real" builds them for those architectures alone.
PATCHGATE_SANITIZE=1 builds with AddressSanitizer and UndefinedBehaviorSanitizer, for make sanitize.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()


class CMakeBuild(build_ext):
    """One CMake build, whose libraries land beside the package's Python files."""

    def run(self):
        # find_spec, not import: building must not load torch, let alone ask it for a device.
        torch_root = Path(importlib.util.find_spec("torch").origin).parent
        package = Path(self.get_ext_fullpath("patchgate._C")).parent.resolve()
        cuda = os.environ.get("PATCHGATE_CUDA", "AUTO")
        sanitize = os.environ.get("PATCHGATE_SANITIZE", "0")
        kind = "sanitize" if sanitize == "1" else f"cuda-{cuda.lower()}"
        kind += "".join(f"-{name}" for name in os.environ.get("CUDAARCHS", "").split(";") if name)
        build = ROOT / "build" / f"cmake-{kind}"
        configure = [
            "cmake", "--no-warn-unused-cli", "-S", str(ROOT), "-B", str(build),
            "-DCMAKE_BUILD_TYPE=Release",
            f"-DPATCHGATE_SANITIZE={sanitize}",
            f"-DTORCH_ROOT={torch_root}", f"-DPACKAGE_DIR={package}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-DPATCHGATE_VERSION={self.distribution.get_version()}",
            f"-DPATCHGATE_CUDA={cuda}",
        ]  # fmt: skip
        subprocess.check_call(configure)
        jobs = str(os.cpu_count() or 1)
        subprocess.check_call(["cmake", "--build", str(build), "--parallel", jobs])

    def get_ext_filename(self, fullname):
        if fullname.endswith("_C"):  # loaded by torch.ops.load_library: no Python ABI in its name
            return str(Path(*fullname.split("."))) + ".so"
        return super().get_ext_filename(fullname)


setup(
    packages=["patchgate.kernels", *find_packages("python")],
    package_dir={"": "python", "patchgate.kernels": "kernels"},
    ext_modules=[Extension("patchgate._C", [])],
    cmdclass={"build_ext": CMakeBuild},
)
