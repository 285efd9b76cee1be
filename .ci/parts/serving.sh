# The plugin of vLLM and the processor for SGLang, with vLLM on the CPU in .venv-vllm.
# time limit: 45m
set -euo pipefail

bash .ci/serving.sh

# Nothing is skipped here, and nothing is fetched.
export HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 VLLM_CPU_KVCACHE_SPACE=1
export VLLM_CPU_OMP_THREADS_BIND=nobind OMP_NUM_THREADS=1
PATH="$PWD/.venv-vllm/bin:$PATH" .venv-vllm/bin/python -m pytest -q --tb=short \
  --confcutdir=tests/serving_vllm tests/serving_vllm
PATH="$PWD/.venv-vllm/bin:$PATH" .venv-vllm/bin/python packaging/run_pages.py --part serving
