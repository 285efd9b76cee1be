# The documentation site, whose warnings are errors, its notebooks, and the code of its pages.
# time limit: 20m
set -euo pipefail

export HF_HUB_OFFLINE=1 # nothing is fetched

make docs
PYTHONPATH="$PWD/python" .venv-docs/bin/python packaging/run_pages.py
