# A corpus by Ray Data and Daft, its Lance form, and other readers of its files, in .venv-ray.
# time limit: 20m
set -euo pipefail

make setup

# An environment of its own for the engines, whose packages come before those of .venv: torch is not
# installed twice.
venv=$PWD/.venv-ray
if ! [ -x "$venv/bin/python" ] || ! cmp -s .ci/ray.in "$venv/ray.in"; then
  rm -rf "$venv"
  "${PYTHON:-python3}" -m venv "$venv"
  # What ray.in names wins over the lock: Daft takes no pyarrow and no tqdm as new as the lock's.
  cut -d= -f1 .ci/ray.in | sed 's/\[.*//; s/.*/^&==/' >"$venv/own.txt"
  grep -vf "$venv/own.txt" .venv/constraints.txt >"$venv/constraints.txt"
  "$venv/bin/python" -m pip install --quiet -c "$venv/constraints.txt" -r .ci/ray.in
  site='import sysconfig; print(sysconfig.get_path("purelib"))'
  .venv/bin/python -c "$site" >"$("$venv/bin/python" -c "$site")/zz_main.pth"
  cp .ci/ray.in "$venv/ray.in"
fi

# What must not be skipped here.
"$venv/bin/python" -c 'import ray.data, daft, lance, webdataset, polars, pandas'
OMP_NUM_THREADS=1 PYTHONPATH="$PWD/python" "$venv/bin/python" -m pytest -q tests/corpus \
  -m "slow or not slow"
PYTHONPATH="$PWD/python" "$venv/bin/python" packaging/run_pages.py --part ray
