# Setup, lint, builds with and without nvcc, tests, the GPU's stages rehearsed, a minute of fuzzing.
# time limit: 30m
set -euo pipefail

make setup
make lint

# The report's browser test needs a browser; where one can be had it must run.
if ! command -v chromium >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get update -qq && apt-get install -y -qq chromium chromium-driver >/dev/null ||
    echo "no chromium to be had: the browser test is skipped"
fi
if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then
  export PATCHGATE_REQUIRE_BROWSER=1
fi

if command -v nvcc >/dev/null; then
  .venv/bin/python -c '
import patchgate
assert patchgate.build_info()["cuda_architectures"], "nvcc is here, but no CUDA kernel was built"'
else
  echo "no nvcc here: the CUDA kernels were not compiled"
fi

# The library must also build, load and work where there is no nvcc.
PATH="$PWD/.venv/bin:$PATH" PATCHGATE_CUDA=0 \
  .venv/bin/python setup.py --quiet build_ext --build-lib build/no-cuda
.venv/bin/python -c '
import torch
torch.ops.load_library("build/no-cuda/patchgate/_C.so")
kind = torch.full((1, 2, 2), 2, dtype=torch.uint8)
assert torch.ops.patchgate.compact(kind, 4)[2].item() == 4'

# One _C.so for every torch since 2.11: only the stable ABI may be used.
.venv/bin/torch-abi-audit --check torch python/patchgate/_C.so

make test

# The dense-reading benchmark, in small: that it runs, not what it finds.
.venv/bin/python benchmarks/reading/curve.py --quick --out build/reading/quick

# What is run on a GPU, without one: no stage may fail there for a reason that shows here.
rm -rf build/rehearsal
make gpu-rehearse OUT=build/rehearsal BUDGET=300

make fuzz SECONDS=60
