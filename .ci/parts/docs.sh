# The documentation site, whose warnings are errors, and the code of its pages.
# time limit: 20m
set -euo pipefail

make docs
.venv/bin/python packaging/run_pages.py
