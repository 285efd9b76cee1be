#!/usr/bin/env bash
# Tries the lines of docs/install.md, each in an empty environment and without a pip cache, and
# prints how long each took and what it left on the disk: `bash packaging/install.sh [LINE...]`.
#
# The lines are named cpu, compiled, source, isolated, cuda and extras. All but the sources' want the
# wheel that `make wheel` left in dist/. torch is asked for without the index option that docs/install.md names,
# by the version of the lock: whichever index this machine uses decides. cuda is a dry run of pip's
# resolver.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
torch=$(grep '^torch==' constraints.txt)
clip=$root/examples/clips/asl_book.mkv

empty() { # empty NAME: a new environment, in $venv
  venv=$root/build/install/$1
  rm -rf "$venv"
  mkdir -p "$root/build/install"
  "${PYTHON:-python3}" -m venv "$venv"
  SECONDS=0
}

pip() { "$venv/bin/python" -m pip --quiet --no-cache-dir "$@"; }

wheel() {
  local found=("$root"/dist/patchgate-*.whl)
  [ -f "${found[0]}" ] || { echo "no wheel in dist/: run make wheel first" >&2; exit 2; }
  echo "${found[0]}"
}

first_tokens() { # first_tokens NAME
  (cd /tmp && "$venv/bin/python" -m patchgate tokenize "$clip" -o "$venv/tokens.safetensors" >/dev/null)
  echo "$1: installed, and the first tokens of a clip, in $SECONDS s; $(du -sm "$venv" | cut -f1) MB"
}

wheel_for_cpu() { # wheel_for_cpu NAME [OPTION...]: of pip install
  local file
  file=$(wheel)
  empty "$1"
  pip install "${@:2}" --no-deps "$torch"
  pip install "${@:2}" "$file" "$torch"
  first_tokens "$1"
}

cpu() { wheel_for_cpu cpu --no-compile; }
compiled() { wheel_for_cpu compiled; }

source() {
  empty source
  pip install --no-deps "$torch"
  pip install "$torch" "setuptools>=77" "cmake>=3.25" ninja
  PATH="$venv/bin:$PATH" PATCHGATE_CUDA=0 pip install --no-build-isolation "$root"
  first_tokens source
}

isolated() {
  empty isolated
  # The same torch in the environment that pip makes for the build.
  echo "$torch" >"$venv/constraints.txt"
  pip install --no-deps "$torch"
  PIP_CONSTRAINT="$venv/constraints.txt" PATCHGATE_CUDA=0 pip install "$root"
  first_tokens isolated
}

cuda() {
  local file
  file=$(wheel)
  empty cuda
  "$venv/bin/python" -m pip --no-cache-dir install --quiet --dry-run --ignore-installed \
    --report "$venv/report.json" "$file[cuda]"
  "$venv/bin/python" -c '
import json, sys
found = [each["metadata"] for each in json.load(open(sys.argv[1]))["install"]]
names = {each["name"].lower(): each["version"] for each in found}
for wanted in ("torch", "triton", "pynvvideocodec", "patchgate"):
    assert wanted in names, f"{wanted} was not resolved"
print("cuda (dry run):", ", ".join(f"{name} {names[name]}" for name in sorted(names)))' "$venv/report.json"
}

extras() {
  local file
  file=$(wheel)
  empty extras
  pip install --no-deps "$torch"
  pip install "$file[tower,live,corpus]" "$torch"
  "$venv/bin/python" -c '
import patchgate, pyarrow, starlette, transformers, uvicorn
print("extras: transformers", transformers.__version__, "pyarrow", pyarrow.__version__)'
  echo "extras: installed in $SECONDS s; $(du -sm "$venv" | cut -f1) MB"
}

for line in "${@:-cpu compiled source isolated cuda extras}"; do
  for each in $line; do
    case $each in
      cpu | compiled | source | isolated | cuda | extras) $each ;;
      *) echo "expected cpu, compiled, source, isolated, cuda or extras, got $each" >&2; exit 2 ;;
    esac
  done
done
