"""Builds patchgate's native library by handing everything to CMake.

``_C`` holds the torch ops (stable ABI: one file for every torch >= 2.11 and every Python).
PATCHGATE_CUDA=1 demands the CUDA kernels, =0 leaves them out; else they are built where nvcc is.
CUDAARCHS="90-real" builds them for those architectures alone; without it, they are built for the
devices of this machine, and where it has none for all that are supported (CMakeLists.txt).
PATCHGATE_SANITIZE=1 builds with AddressSanitizer and UndefinedBehaviorSanitizer, for make sanitize.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()


def torch_root() -> Path:
    """The folder of the torch that is built against."""
    # find_spec, not import: building must not load torch, let alone ask it for a device.
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        sys.exit(
            "patchgate is built against the torch that is installed, and there is none here. "
            "Install torch first, then run pip install --no-build-isolation (docs/install.md)."
        )
    return Path(found.origin).parent


def architectures() -> str:
    """The architectures of this machine's devices, from sm_80 on, as CMake names them; "": none."""
    asked = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    found = sorted({line.strip().replace(".", "") for line in told.splitlines()})
    return ";".join(f"{each}-real" for each in found if each.isdigit() and int(each) >= 80)


class CMakeBuild(build_ext):
    """One CMake build, whose libraries land beside the package's Python files."""

    def run(self):
        package = Path(self.get_ext_fullpath("patchgate._C")).parent.resolve()
        cuda = os.environ.get("PATCHGATE_CUDA", "AUTO")
        sanitize = os.environ.get("PATCHGATE_SANITIZE", "0")
        chosen = os.environ.get("CUDAARCHS", "" if cuda == "0" else architectures())
        if chosen:  # CMake reads it from the environment
            os.environ["CUDAARCHS"] = chosen
        kind = "sanitize" if sanitize == "1" else f"cuda-{cuda.lower()}"
        kind += "".join(f"-{name}" for name in chosen.split(";") if name)
        ninja = shutil.which("ninja")  # without it CMake takes what it finds
        kind += "-ninja" if ninja else ""
        build = ROOT / "build" / f"cmake-{kind}"
        configure = [
            "cmake", "--no-warn-unused-cli", "-S", str(ROOT), "-B", str(build),
            *(["-G", "Ninja"] if ninja else []),
            "-DCMAKE_BUILD_TYPE=Release",
            f"-DPATCHGATE_SANITIZE={sanitize}",
            f"-DTORCH_ROOT={torch_root()}", f"-DPACKAGE_DIR={package}",
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


class AnyPython(bdist_wheel):
    """A wheel for every Python: ``_C`` is loaded by torch and knows no Python."""

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


setup(
    packages=["patchgate.kernels", *find_packages("python")],
    package_dir={"": "python", "patchgate.kernels": "kernels"},
    ext_modules=[Extension("patchgate._C", [])],
    cmdclass={"bdist_wheel": AnyPython, "build_ext": CMakeBuild},
)
