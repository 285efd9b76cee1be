# The tests with the oldest allowed version of everything but torch, in .venv-oldest.
# time limit: 20m
exec bash .ci/other_versions.sh oldest
