#!/usr/bin/env bash
# Gives a wheel the lowest manylinux tag that its symbols allow: repair.sh WHEEL FOLDER. torch's own
# libraries stay outside, for the torch of the user loads them.
set -euo pipefail
exclude=()
for name in libtorch libtorch_cpu libtorch_cuda libc10 libc10_cuda; do
  exclude+=(--exclude "$name.so")
done
for version in 12 13; do exclude+=(--exclude "libcudart.so.$version"); done
auditwheel repair "${exclude[@]}" --wheel-dir "$2" "$1"
