#!/usr/bin/env bash
# Builds the one wheel in dist/, for every Python: `make wheel`. PYTHON is an interpreter with the
# versions of the lock (packaging/build.in among them).
#
# The CUDA kernels are in the wheel where nvcc is found and the wheel stays under 60 MB; else it is a
# wheel for the CPU, and this says so.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${PYTHON:=.venv/bin/python}"
bin=$(cd "$(dirname "$PYTHON")" && pwd)
export PATH="$bin:$PATH" CUDAARCHS="${CUDAARCHS:-80-real;90-real;100-real}"
limit=$((60 * 1000 * 1000)) # bytes

# From a copy: a build leaves files in its tree, and an older one's must not get in. Only what CMake
# has compiled stays for the next time.
work=build/wheel
mkdir -p "$work/source"
find "$work/source" -mindepth 1 -maxdepth 1 ! -name build -exec rm -r {} +
rm -rf dist "$work"/source/build/{lib,bdist}*
tar -c --exclude='*.so' --exclude='*.egg-info' --exclude=__pycache__ \
  setup.py pyproject.toml CMakeLists.txt README.md LICENSE csrc kernels python |
  tar -x -C "$work/source"

build() { # build PATCHGATE_CUDA: one unrepaired wheel in $work/raw
  rm -rf "$work/raw"
  PATCHGATE_CUDA=$1 "$bin/python" -m pip wheel --verbose --no-deps --no-build-isolation \
    --wheel-dir "$work/raw" "$work/source"
}

if command -v nvcc >/dev/null && [ "${PATCHGATE_CUDA:-AUTO}" != 0 ]; then
  build 1
  size=$(stat -c %s "$work"/raw/*.whl)
  if [ "$size" -ge "$limit" ]; then
    echo "the wheel with CUDA kernels has $size bytes, $limit or more: a wheel for the CPU is made"
    build 0
  fi
else
  echo "no nvcc, or PATCHGATE_CUDA=0: a wheel for the CPU is made"
  build 0
fi

bash packaging/repair.sh "$work"/raw/*.whl dist
ls -l dist
