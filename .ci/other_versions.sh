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

# A part has 20 minutes: shortly before their end the tests are stopped, so that those that have
# failed so far can be named.
failed=0
OMP_NUM_THREADS=1 timeout --foreground --signal=INT $((1110 - SECONDS)) \
  "$venv/bin/python" -m pytest -q -n "${JOBS:-2}" --dist worksteal --tb=short \
  --junit-xml="$build/tests.xml" || failed=$?
# pytest's 1: tests failed, which the report names; 124: they took too long; others: it could not
# run them.
"$venv/bin/python" .ci/versions.py report "$build/tests.xml" || [ "$failed" != 0 ] || failed=1
[ "$failed" != 124 ] || echo "not all tests were run: their time was up"
exit "$failed"
