#!/usr/bin/env bash
# What must be installed before a wheel is built in an image that has only Python and a compiler.
set -euo pipefail
cd "$(dirname "$0")/.."
python -m pip install --quiet --no-deps -c constraints.txt torch
python -m pip install --quiet -c constraints.txt -r .ci/build.in
if [ "${PATCHGATE_CUDA:-AUTO}" = 1 ] && ! command -v nvcc >/dev/null; then
  python -m pip install --quiet "nvidia-cuda-nvcc==13.0.*" "nvidia-cuda-runtime==13.0.*" \
    "nvidia-cuda-crt==13.0.*" "nvidia-nvvm==13.0.*" "nvidia-cuda-cccl==13.0.*"
  found=$(python -c 'import nvidia; print(list(nvidia.__path__)[0])')
  ln -sf "$found/cu13/bin/nvcc" /usr/local/bin/nvcc
fi
