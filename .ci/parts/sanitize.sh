# The CPU ops built with ASan and UBSan, their tests and hostile arguments.
# time limit: 20m
set -euo pipefail

make setup
make sanitize
