#!/usr/bin/env bash
# Makes .venv-docs: what makes the documentation and runs its notebooks. All else it finds in the
# environment of PYTHON (.venv), in which nothing is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${PYTHON:=.venv/bin/python}"
venv=$PWD/.venv-docs
rm -rf "$venv"
"$PYTHON" -m venv "$venv"
# torchvision by itself: what it asks for would be a second torch.
"$venv/bin/python" -m pip install --quiet --no-deps -c constraints.txt torchvision
grep -v '^torchvision' packaging/docs.in >"$venv/docs.in"
"$venv/bin/python" -m pip install --quiet -c constraints.txt -r "$venv/docs.in"
"$venv/bin/python" .ci/serving.py start
site='import sysconfig; print(sysconfig.get_path("purelib"))'
"$PYTHON" -c "$site" >"$("$venv/bin/python" -c "$site")/zz_main.pth"
touch "$venv/docs.stamp"
