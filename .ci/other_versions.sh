# The tests with other versions than the lock's: `other_versions.sh newest`, or `oldest`.
# Installs into an environment of its own; .venv and python/patchgate/*.so stay as they are.
set -euo pipefail

which=$1
venv=$PWD/.venv-$which
build=build/$which
rm -rf "$venv" "$build"
mkdir -p "$build/source"

"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --no-deps -c constraints.txt torch
"$venv/bin/python" .ci/versions.py "$which" >"$build/constraints.txt"
"$venv/bin/python" -m pip install --quiet -c "$build/constraints.txt" -r .ci/build.in
# Built from a copy: a build leaves files in its tree that belong to one set of tools.
tar -c --exclude='*.so' --exclude='*.egg-info' \
  setup.py pyproject.toml CMakeLists.txt README.md LICENSE csrc kernels python |
  tar -x -C "$build/source"
PATH="$venv/bin:$PATH" PATCHGATE_CUDA=0 "$venv/bin/python" -m pip install --quiet \
  --no-build-isolation -c "$build/constraints.txt" "$build/source[test]"

failed=0
OMP_NUM_THREADS=1 "$venv/bin/python" -m pytest -q -n "${JOBS:-2}" \
  --dist worksteal --tb=short --junit-xml="$build/tests.xml" || failed=$?
# pytest's 1: tests failed, which the report names; others: it could not run them.
"$venv/bin/python" .ci/versions.py report "$build/tests.xml" || failed=1
exit "$failed"
