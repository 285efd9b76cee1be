# The wheel: built, installed into an empty environment, and tried there.
# time limit: 20m
set -euo pipefail

make wheel
.venv/bin/python packaging/contents.py dist/*.whl

# An empty environment, with the CPU's torch of the lock: what the wheel asks for, and no more.
rm -rf .venv-wheel build/elsewhere
mkdir -p build/elsewhere
SECONDS=0
"${PYTHON:-python3}" -m venv .venv-wheel
.venv-wheel/bin/python -m pip install --quiet --no-deps -c constraints.txt torch
.venv-wheel/bin/python -m pip install --quiet -c .venv/constraints.txt dist/*.whl
echo "installed in $SECONDS s, $(du -sm .venv-wheel | cut -f1) MB"
clip=$PWD/examples/clips/asl_book.mkv
smoke=$PWD/packaging/smoke.py
python=$PWD/.venv-wheel/bin/python
(cd build/elsewhere && "$python" "$smoke" "$clip" && "$python" -m patchgate inspect "$clip" -o report.html)
echo "installed and tried in $SECONDS s"
